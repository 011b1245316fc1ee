package jetstream

import (
	"fmt"
	"log/slog"
	"sync"
)

// serverLog passes the server's words on to slog. Its notices are details here,
// and a fatal one must not end the process: it becomes the error of the start.
type serverLog struct {
	log   *slog.Logger
	once  sync.Once
	fatal chan string
}

func newServerLog(log *slog.Logger) *serverLog {
	return &serverLog{log: log.With("part", "nats-server"), fatal: make(chan string, 1)}
}

func (l *serverLog) Noticef(format string, v ...any) { l.log.Debug(fmt.Sprintf(format, v...)) }
func (l *serverLog) Debugf(format string, v ...any)  { l.log.Debug(fmt.Sprintf(format, v...)) }
func (l *serverLog) Tracef(format string, v ...any)  { l.log.Debug(fmt.Sprintf(format, v...)) }
func (l *serverLog) Warnf(format string, v ...any)   { l.log.Warn(fmt.Sprintf(format, v...)) }
func (l *serverLog) Errorf(format string, v ...any)  { l.log.Error(fmt.Sprintf(format, v...)) }

func (l *serverLog) Fatalf(format string, v ...any) {
	l.once.Do(func() { l.fatal <- fmt.Sprintf(format, v...) })
}
