package bloodbank

import (
	"encoding/json"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// AgentType names a kind of agent.
type AgentType string

// The agent types of the wire form. Any other is refused; use [AgentCustom].
const (
	AgentClaudeCode  AgentType = "claude-code"
	AgentClaudeChat  AgentType = "claude-chat"
	AgentGeminiCLI   AgentType = "gemini-cli"
	AgentGeminiCode  AgentType = "gemini-code"
	AgentLetta       AgentType = "letta"
	AgentAgno        AgentType = "agno"
	AgentSmolagent   AgentType = "smolagent"
	AgentAtomicAgent AgentType = "atomic-agent"
	AgentCustom      AgentType = "custom"
)

// Valid reports whether t is one of the wire form's types.
func (t AgentType) Valid() bool {
	switch t {
	case AgentClaudeCode, AgentClaudeChat, AgentGeminiCLI, AgentGeminiCode, AgentLetta, AgentAgno,
		AgentSmolagent, AgentAtomicAgent, AgentCustom:
		return true
	}
	return false
}

// AgentContext describes the agent that published an event. Absent values are
// written as null, as the original does.
type AgentContext struct {
	Type           AgentType       `json:"type"`
	Name           *string         `json:"name"`
	SystemPrompt   *string         `json:"system_prompt"`
	InstanceID     *string         `json:"instance_id"`
	MCPServers     []string        `json:"mcp_servers"`
	FileReferences []string        `json:"file_references"`
	URLReferences  []string        `json:"url_references"`
	CodeState      *CodeState      `json:"code_state"`
	CheckpointID   *string         `json:"checkpoint_id"`
	Meta           json.RawMessage `json:"meta"`
	// Extra holds unknown members, as one JSON object; they survive.
	Extra jsontext.Value `json:",embed"`
}

// CodeState is the state of the repository that the agent works in.
type CodeState struct {
	RepoURL        *string        `json:"repo_url"`
	Branch         *string        `json:"branch"`
	WorkingDiff    *string        `json:"working_diff"`
	BranchDiff     *string        `json:"branch_diff"`
	LastCommitHash *string        `json:"last_commit_hash"`
	Extra          jsontext.Value `json:",embed"`
}

func decodeAgentContext(raw []byte) (*AgentContext, error) {
	var ctx *AgentContext
	if err := jsonv2.Unmarshal(raw, &ctx); err != nil {
		return nil, Errorf(CodeInvalid, "invalid agent_context: %v", err)
	}
	if ctx == nil {
		return nil, nil
	}
	if !ctx.Type.Valid() {
		return nil, Errorf(CodeInvalid, "agent_context.type %s is not known: use one of the wire form's types, or custom", quoteShort(string(ctx.Type)))
	}
	if !isObjectOrNull(ctx.Meta) {
		return nil, Errorf(CodeInvalid, "agent_context.meta must be an object or null")
	}
	return ctx, nil
}

func (c *AgentContext) appendJSON(b []byte) ([]byte, error) {
	if c == nil {
		return append(b, "null"...), nil
	}
	raw, err := jsonv2.Marshal(c, jsonv2.FormatNilSliceAsNull(true))
	if err != nil {
		return nil, Errorf(CodeInvalid, "cannot write agent_context: %v", err)
	}
	return appendOneLine(b, raw), nil
}
