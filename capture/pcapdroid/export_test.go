package pcapdroid

// What the tests of the readers need.
var (
	Counted     = counted
	Consent     = consent
	Older       = older
	VersionName = versionName
	Window      = window
)

// ParseState reads the answer to the question for tunnels.
func ParseState(text string) (tunnel string, passed *int64, others []string, ok bool) {
	s, ok := parseState(text)
	return s.tunnel, s.passed, s.others, ok
}
