package wal

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"github.com/33god/bloodbank/wal/vfs"
)

const (
	quarantineDir = "quarantine"
	bytesSuffix   = ".bytes"
	reasonSuffix  = ".json"
	tmpSuffix     = ".tmp"
)

// QuarantineInfo is a stretch of bytes that was taken out of the log.
type QuarantineInfo struct {
	Name  string    `json:"name"` // of the file with the bytes, in the folder quarantine
	Taken time.Time `json:"taken"`
	Fault Fault     `json:"fault"` // File and Offset say where from
}

// quarantine copies the bytes of a fault out of src. When it returns, the copy and its reason are durable, so the
// bytes may be overwritten. Doing the same again gives the same files.
func quarantine(fsys vfs.FS, dir string, src io.ReaderAt, fault Fault, now time.Time) error {
	folder := filepath.Join(dir, quarantineDir)
	if err := fsys.MkdirAll(folder); err != nil {
		return err
	}
	info := QuarantineInfo{Taken: now.UTC(), Fault: fault}
	info.Name = fmt.Sprintf("%s-%d-%d%s", fault.File, fault.Offset, fault.Bytes, bytesSuffix)
	if err := copyBytes(fsys, filepath.Join(folder, info.Name), io.NewSectionReader(src, fault.Offset, fault.Bytes)); err != nil {
		return fmt.Errorf("quarantine %s: %w", info.Name, err)
	}
	reason, err := json.MarshalIndent(info, "", "  ")
	if err != nil {
		return err
	}
	stem := strings.TrimSuffix(info.Name, bytesSuffix)
	if err := vfs.WriteFile(fsys, filepath.Join(folder, stem+reasonSuffix), append(reason, '\n')); err != nil {
		return fmt.Errorf("quarantine %s: %w", info.Name, err)
	}
	return fsys.SyncDir(dir)
}

func copyBytes(fsys vfs.FS, path string, src io.Reader) error {
	out, err := fsys.Open(path, vfs.Create)
	if err != nil {
		return err
	}
	_, err = io.Copy(&appender{f: out}, src)
	if err == nil {
		err = out.Sync()
	}
	return errors.Join(err, out.Close())
}

// listQuarantine reads the reason files.
func listQuarantine(fsys vfs.FS, dir string) ([]QuarantineInfo, error) {
	folder := filepath.Join(dir, quarantineDir)
	entries, err := fsys.ReadDir(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var list []QuarantineInfo
	for _, e := range entries {
		if e.Dir || !strings.HasSuffix(e.Name, reasonSuffix) {
			continue
		}
		data, err := vfs.ReadFile(fsys, filepath.Join(folder, e.Name))
		if err != nil {
			return nil, err
		}
		info := QuarantineInfo{}
		if err := json.Unmarshal(data, &info); err != nil {
			info = QuarantineInfo{Name: strings.TrimSuffix(e.Name, reasonSuffix) + bytesSuffix,
				Fault: Fault{Kind: FaultDamage, Reason: "the reason file cannot be read: " + err.Error()}}
		}
		list = append(list, info)
	}
	return list, nil
}
