package httpapi_test

import (
	"context"
	"testing"

	"github.com/33god/bloodbank"
	"github.com/33god/bloodbank/client"
	"github.com/33god/bloodbank/dispatch"
	"github.com/33god/bloodbank/httpapi"
)

// holds are targets of which bus is served.
type holds []dispatch.Hold

func (h *holds) Holds() []dispatch.Hold { return *h }

func (h *holds) GiveUp(_ context.Context, target string) error {
	switch target {
	case "bus":
		return bloodbank.Errorf(bloodbank.CodeConflict, "it is served")
	case "a b":
		*h = (*h)[1:]
		return nil
	}
	return bloodbank.Errorf(bloodbank.CodeNotFound, "it holds nothing")
}

func TestTargets(t *testing.T) {
	t.Parallel()
	h := &holds{{Target: "a b", Position: 3}, {Target: "bus", Position: 9, Configured: true}}
	b := setup(t, func(o *httpapi.Options) { o.Targets = h })
	c, err := client.New(b.url, client.Options{})
	must(t, err)
	list, err := c.Targets(t.Context())
	if err != nil || len(list) != 2 || list[0] != (client.Target{Target: "a b", Position: 3}) || !list[1].Configured {
		t.Errorf("got %+v, %v", list, err)
	}
	for name, code := range map[string]bloodbank.Code{"bus": bloodbank.CodeConflict, "who": bloodbank.CodeNotFound} {
		if _, err := c.GiveUpTarget(t.Context(), name); bloodbank.CodeOf(err) != code {
			t.Errorf("%s: %v", name, err)
		}
	}
	if list, err = c.GiveUpTarget(t.Context(), "a b"); err != nil || len(list) != 1 {
		t.Errorf("got %+v, %v", list, err)
	}
}

func TestNoTargets(t *testing.T) {
	t.Parallel()
	c, err := client.New(setup(t).url, client.Options{})
	must(t, err)
	if _, err := c.Targets(t.Context()); bloodbank.CodeOf(err) != bloodbank.CodeUnavailable {
		t.Errorf("got %v", err)
	}
	if _, err := c.GiveUpTarget(t.Context(), "x"); bloodbank.CodeOf(err) != bloodbank.CodeUnavailable {
		t.Errorf("got %v", err)
	}
}
