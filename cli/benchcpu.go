package cli

import (
	"encoding/json"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// clockTicks is how many ticks of /proc a second has, on every Linux in use.
const clockTicks = 100

// meter measures the CPU time of a process and its descendants; nil measures nothing.
type meter struct {
	pid   int
	began time.Time
	spent float64
}

// newMeter begins to measure, where it can. A server on this machine may say its own
// number in its status.
func newMeter(address string, status []byte, pid int) *meter {
	if pid == 0 && isLocal(address) {
		var s struct {
			PID int `json:"pid"`
		}
		_ = json.Unmarshal(status, &s) // without it the CPU time is left out
		pid = s.PID
	}
	spent, ok := cpuOf(pid)
	if pid == 0 || !ok {
		return nil
	}
	return &meter{pid: pid, began: time.Now(), spent: spent}
}

func (m *meter) stop() *benchCPU {
	if m == nil {
		return nil
	}
	spent, ok := cpuOf(m.pid)
	if !ok {
		return nil
	}
	used := max(0, spent-m.spent)
	return &benchCPU{Seconds: used, Cores: used / time.Since(m.began).Seconds()}
}

func isLocal(address string) bool {
	u, err := url.Parse(address)
	if err != nil {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
}

// cpuOf is the CPU time in seconds of a process, of those it started, and of those of
// them that ended.
func cpuOf(pid int) (seconds float64, ok bool) {
	paths, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil || pid <= 0 {
		return 0, false
	}
	ticks, parent := map[int]int{}, map[int]int{}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		id, of, n, ok := parseStat(string(data))
		if ok {
			ticks[id], parent[id] = n, of
		}
	}
	_, ok = ticks[pid]
	sum := 0
	for id, n := range ticks {
		for at, steps := id, 0; at > 0 && steps < 64; at, steps = parent[at], steps+1 {
			if at == pid {
				sum += n
				break
			}
		}
	}
	return float64(sum) / clockTicks, ok
}

// parseStat reads a line of /proc: the name in brackets may hold anything.
func parseStat(line string) (pid, parent, ticks int, ok bool) {
	head, _, found := strings.Cut(line, " ")
	end := strings.LastIndexByte(line, ')')
	if !found || end < 0 {
		return 0, 0, 0, false
	}
	fields := strings.Fields(line[end+1:])
	if len(fields) < 15 {
		return 0, 0, 0, false
	}
	number := func(s string) int {
		n, err := strconv.Atoi(s)
		ok = ok && err == nil
		return n
	}
	ok = true
	pid, parent = number(head), number(fields[1])
	for _, field := range fields[11:15] {
		ticks += number(field)
	}
	return pid, parent, ticks, ok
}
