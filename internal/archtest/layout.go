package archtest

import (
	"fmt"
	"io/fs"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
)

// folders are the only ones at the top, each with what it is for.
var folders = map[string]string{
	".ci":       "what a test farm runs",
	"capture":   "what left the phone",
	"cmd":       "the command",
	"devices":   "phones over ADB",
	"docs":      "what people read",
	"harness":   "observe, account, judge",
	"internal":  "the rules of the house and the helpers of its tests",
	"scenarios": "what a person does with the phone",
	"specs":     "claims made to the phone's owner",
}

// topLevel applies the list of folders: each is there, and no other.
func (c *check) topLevel(tree fs.FS) error {
	const why = "the first screen of the repository is its table of contents"
	entries, err := fs.ReadDir(tree, ".")
	if err != nil {
		return err
	}
	var seen []string
	for _, entry := range entries {
		if !entry.IsDir() || generated(entry.Name()) {
			continue
		}
		seen = append(seen, entry.Name())
		if folders[entry.Name()] == "" {
			c.add(entry.Name(), 0, "a folder that the plan of the house does not have", why)
		}
	}
	for name, what := range folders {
		if !slices.Contains(seen, name) {
			c.add(name, 0, "the folder is missing: "+what, why)
		}
	}
	return nil
}

// link matches the target of a Markdown link.
var link = regexp.MustCompile(`\]\(([^()\s]+)\)`)

// links asks that every relative link of a page leads to a file.
func (c *check) links(tree fs.FS, name string, src []byte) {
	if path.Ext(name) != ".md" {
		return
	}
	for i, line := range strings.Split(string(src), "\n") {
		for _, m := range link.FindAllStringSubmatch(line, -1) {
			target, err := url.Parse(m[1])
			if err != nil || target.IsAbs() || target.Path == "" {
				continue
			}
			file := path.Join(path.Dir(name), target.Path)
			if _, err := fs.Stat(tree, file); err != nil {
				c.add(name, i+1, fmt.Sprintf("the link to %s leads nowhere", m[1]), "a reader who cannot follow a page stops trusting it")
			}
		}
	}
}
