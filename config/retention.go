package config

import (
	"errors"
	"strings"
	"time"
)

// Retention says which events leave the store. Keys store.retention.*,
// BB_STORE_RETENTION_*. The default keeps everything.
type Retention struct {
	// MaxAge is how long events are kept, counted from their storing; 0 is forever,
	// else at least MinRetention. Default 0.
	MaxAge time.Duration
	// MaxBytes is how many bytes of wire forms the store holds; the oldest go first.
	// 0 sets no limit. Default 0.
	MaxBytes Size
	// Rules are ages for some types, in place of MaxAge. Default none.
	Rules []RetentionRule
}

// MinRetention is the shortest age: younger events may still be on their way to
// those who follow the store.
const MinRetention = time.Hour

// RetentionRule is an age for the types that a glob fits. Its text is TYPES=AGE,
// where AGE may be forever; several are separated by commas.
type RetentionRule struct {
	Types string
	// MaxAge is 0 for forever.
	MaxAge time.Duration
}

const forever = "forever"

// retentionRules is a list of rules in their text form.
func retentionRules(p *[]RetentionRule) field {
	return field{func(s string) error {
		*p = nil
		for text := range strings.SplitSeq(s, ",") {
			if text = strings.TrimSpace(text); text == "" {
				continue
			}
			types, age, ok := strings.Cut(text, "=")
			r := RetentionRule{Types: strings.TrimSpace(types)}
			if age = strings.TrimSpace(age); age != forever {
				d, err := parseDuration(age)
				ok = ok && err == nil && d > 0
				r.MaxAge = d
			}
			if !ok || r.Types == "" || strings.ContainsAny(r.Types, " \t\"") {
				return errors.New("holds no rule such as llm.*=30d or billing.*=forever")
			}
			*p = append(*p, r)
		}
		return nil
	}, func() string {
		var list []string
		for _, r := range *p {
			age := forever
			if r.MaxAge > 0 {
				age = formatDuration(r.MaxAge)
			}
			list = append(list, r.Types+"="+age)
		}
		return strings.Join(list, ",")
	}}
}

func (c Config) checkRetention(check *checker) {
	r := c.Store.Retention
	check.that(r.MaxAge == 0 || r.MaxAge >= MinRetention, "store.retention.max_age", "is too short; use 1h or more, or 0 for forever")
	check.that(r.MaxBytes >= 0, "store.retention.max_bytes", "is negative; use 0 for no limit")
	for _, rule := range r.Rules {
		check.that(rule.MaxAge == 0 || rule.MaxAge >= MinRetention, "store.retention.rules", "keeps %s for too short; use 1h or more, or forever", rule.Types)
	}
}
