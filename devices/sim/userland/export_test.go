package userland

import "bytes"

// ParseFilter reads a filter and says whether it wants the frame.
func ParseFilter(text string, frame []byte) (bool, error) {
	f, err := parseFilter(text, false)
	if err != nil || f == nil {
		return err == nil, err
	}
	return f(frame), nil
}

// RunSed applies a sed script to lines.
func RunSed(script string, extended bool, list []string) (string, error) {
	commands, err := parseSed(script, extended)
	if err != nil {
		return "", err
	}
	var out bytes.Buffer
	sedRun(commands, list, false, &out)
	return out.String(), nil
}
