package schema

import "github.com/santhosh-tekuri/jsonschema/v6"

type node struct{}

func (n *node) accepts([]byte) bool { return false }

func compileQuick(*jsonschema.Schema) *node { return nil }
