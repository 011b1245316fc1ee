package redis

import (
	_ "embed"

	goredis "github.com/redis/go-redis/v9"
)

//go:embed walk.lua
var walkSource string

//go:embed prune.lua
var pruneSource string

//go:embed keep.lua
var keepSource string

// scripts are sent once to each Redis, and are then known by their hash.
type scripts struct{ walk, prune, keep *goredis.Script }

func newScripts() scripts {
	return scripts{walk: goredis.NewScript(walkSource), prune: goredis.NewScript(pruneSource), keep: goredis.NewScript(keepSource)}
}
