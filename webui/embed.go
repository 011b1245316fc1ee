//go:build !noui

package webui

import (
	"embed"
	"io/fs"
)

//go:embed all:dist
var dist embed.FS

func embedded() fs.FS {
	files, err := fs.Sub(dist, "dist")
	if err != nil {
		return dist // the name above is valid, so this does not happen
	}
	return files
}
