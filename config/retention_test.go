package config

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestRetentionRules(t *testing.T) {
	t.Parallel()
	cfg, _, err := Load(Sources{Environ: []string{
		"HOME=/nowhere", "BB_STORE_RETENTION_MAX_AGE=90d", "BB_STORE_RETENTION_MAX_BYTES=10GiB",
		"BB_STORE_RETENTION_RULES= llm.*=30d, debug.*=1h30m ,billing.*=forever,",
	}})
	if err != nil {
		t.Fatal(err)
	}
	want := Retention{MaxAge: 90 * day, MaxBytes: 10 << 30, Rules: []RetentionRule{{"llm.*", 30 * day}, {"debug.*", 90 * time.Minute}, {"billing.*", 0}}}
	if got := cfg.Store.Retention; !reflect.DeepEqual(got, want) {
		t.Fatalf("%+v, want %+v", got, want)
	}
	if got := retentionRules(&cfg.Store.Retention.Rules).get(); got != "llm.*=30d,debug.*=1h30m,billing.*=forever" {
		t.Fatalf("the rules come back as %q", got)
	}
}

func TestRetentionFaults(t *testing.T) {
	t.Parallel()
	for env, want := range map[string]string{
		"BB_STORE_RETENTION_MAX_AGE=10m":         "use 1h or more",
		"BB_STORE_RETENTION_RULES=llm.*":         "holds no rule such as",
		"BB_STORE_RETENTION_RULES==1h":           "holds no rule such as",
		"BB_STORE_RETENTION_RULES=a b=1h":        "holds no rule such as",
		"BB_STORE_RETENTION_RULES=a.*=0":         "holds no rule such as",
		"BB_STORE_RETENTION_RULES=a.*=1h,b.*=1m": "keeps b.* for too short",
		"BB_STORE_RETENTION_MAX_BYTES=much":      "is no size",
	} {
		_, _, err := Load(Sources{Environ: []string{"HOME=/nowhere", env}})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", env, err, want)
		}
	}
}
