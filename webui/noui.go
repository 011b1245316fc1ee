//go:build noui

package webui

import (
	"embed"
	"io/fs"
)

func embedded() fs.FS { return embed.FS{} }
