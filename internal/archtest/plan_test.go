package archtest

// room is a package of the plan, with what it may import of ours.
type room struct {
	path    string // within the module; "." is the root
	imports []string
	why     string
}

// Words for what a room may import, beside the paths of packages.
const (
	anything = "*" // all but suites, commands and internal/testenv
	suites   = "suites"
)

// plan is the allowed imports, as the design has them. Downward only; what is
// not in the list of a room must not be imported there, and a package without a
// room must not exist. Test files have rules of their own, see testImports.
func plan() []room {
	const (
		leaf   = "everything may import it, so it imports nothing of ours"
		door   = "a door knows contracts and the gateway, never a driver and never another door"
		driver = "a driver knows the nouns and its role, never another driver"
		bytes  = "the log keeps bytes and knows no envelopes, so that it can be proved alone"
	)
	return []room{
		{".", nil, leaf},
		{"internal/service", nil, leaf},
		{"webui", nil, "built files and the handler that serves them"},
		{"wal/vfs", nil, bytes},
		{"wal/segment", list("wal/vfs"), bytes},
		{"wal", list("wal/segment", "wal/vfs"), bytes},
		{"voice/audio", nil, "bytes in, samples out; it knows no session"},
		{"voice/subtitles", nil, "text and times in, a file out; it knows no session"},

		{"bus", list("."), "a contract knows only the nouns"},
		{"store", list("."), "a contract knows only the nouns"},
		{"correlation", list("."), "a contract knows only the nouns"},
		{"speech", list("."), "a contract knows only the nouns"},
		{"schema", list("."), "the registry knows only the nouns"},
		{"schema/gen", nil, "the generator reads the event catalogue and writes schemas"},
		{"config", list("."), "settings are data; app makes drivers of them"},
		{"client", list("."), "it speaks HTTP and returns the same errors as the server"},
		{"voice", list(".", "voice/audio"), "sound in, Transcriptions out; it knows no log and no bus"},

		{"bus/jetstream", list(".", "bus"), driver},
		{"bus/rabbitmq", list(".", "bus"), driver},
		{"bus/bustest", list(".", "bus"), driver},
		{"store/sqlfilter", list(".", "store"), "what the SQL stores share: the filter language as SQL"},
		{"store/postgres", list(".", "store", "store/sqlfilter", "correlation"), "a store is also the tracker of causes, and knows no other driver"},
		{"store/sqlite", list(".", "store", "store/sqlfilter", "correlation"), "a store is also the tracker of causes, and knows no other driver"},
		{"store/storetest", list(".", "store", "correlation"), driver},
		{"correlation/correlationtest", list(".", "correlation"), driver},
		{"correlation/redis", list(".", "correlation"), driver},
		{"speech/flite", list(".", "speech"), driver},
		{"voice/pocketsphinx", list(".", "voice", "voice/audio"), driver},
		{"voice/openai", list(".", "voice", "voice/audio"), driver},
		{"voice/vosk", list(".", "voice", "voice/audio"), driver},
		{"voice/whisperlive", list(".", "voice", "voice/audio"), driver},
		{"voice/recognisertest", list(".", "voice", "voice/audio"), driver},

		{"gateway", list(".", "schema", "wal"), "accepting an event means stamp, check and append, nothing more"},
		{"dispatch", list(".", "wal", "bus"), "it carries events from the log to a bus and knows no store"},
		{"recorder", list(".", "bus", "store", "correlation"), "it carries events from a bus to a store and knows no log"},
		{"live", list(".", "store"), "it follows the store by sequence"},
		{"replay", list(".", "bus", "store", "correlation", "gateway"), "it brings stored events to the gateway again, or to a place of the bus aside"},
		{"retention", list(".", "store"), "it lets events of the store go; who follows the store it knows by a number"},

		{"voice/wsdoor", list(".", "voice", "voice/audio"), "what the doors for speech share: who may come in, and how a socket is read"},
		{"voice/asrws", doorOfVoice(), door},
		{"voice/streamws", doorOfVoice(), door},
		{"voice/listenws", doorOfVoice(), door},
		{"voice/files", doorOfVoice(), door},
		// dispatch: the door lists and redrives the dead letters, which are dispatch's own.
		{"httpapi", list(".", "gateway", "live", "dispatch", "bus", "store", "correlation", "schema", "voice", "voice/subtitles", "speech", "replay"),
			door},

		{"internal/telemetry", list("."), "metrics and logs know only the nouns"},
		{"internal/faultproxy", nil, leaf},
		{"internal/testenv", list(".", "internal/faultproxy"), "private brokers for tests; it knows processes, not drivers"},
		{"internal/powercut", nil, "tests alone: they drive the flow over a file system that loses, and no product code is here"},
		{"internal/archtest", nil, "it reads source and imports no product code"},

		{"torture", list(".", "client", "internal/faultproxy"), "it drives a server from outside, as its users do"},

		{"app", list(anything), "the one place where drivers are chosen"},
		{"cli", list(".", "app", "client", "config", "schema", "torture", "voice/subtitles"), "a verb asks the daemon or app; it holds no logic of the flow"},
		{"cmd/bb", list("cli"), "signals in, exit code out"},
	}
}

// testImports says what the test files of a package may import beside what the
// package itself may: whatever lies below the doors, suites and testenv too.
// The leaves stay leaves in their tests.
func testImports(of string) []string {
	switch of {
	case "wal", "wal/segment", "wal/vfs":
		return list("wal", "wal/segment", "wal/vfs")
	case "internal/service", "internal/archtest":
		return list(of)
	}
	return list(anything, suites, of)
}

// above are the packages that nothing below them may import, tests included.
func above() []string { return list("app", "cli", "cmd/bb") }

// doorOfVoice is what a door for speech may know.
func doorOfVoice() []string {
	return list(".", "voice", "voice/audio", "voice/subtitles", "voice/wsdoor", "gateway", "live", "bus", "store", "correlation", "schema", "speech")
}

func list(items ...string) []string { return items }
