package browser

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/offproof/offproof/devices/ui"
	"github.com/offproof/offproof/harness"
	"github.com/offproof/offproof/harness/canary"
)

// An Engine is a search engine, with the one exchange in which it is meant to
// receive the words.
type Engine struct {
	// Name is the engine's row in the browser's settings.
	Name string
	// Host, Path and Param are where the words belong; Known are further
	// parameters of the engine's own form, with their values.
	Host, Path, Param string
	Known             map[string][]string
	// Suggests are where the engine may be asked, letter by letter, what somebody
	// could mean.
	Suggests []Suggestion
	// Titles are what the results page calls itself after the words, in the languages
	// that are known, English first.
	Titles []string
}

// A Suggestion is an address at which an engine suggests words: its parameter for
// what has been typed, and further ones with their values. They are as the
// engines' descriptions for browsers (OpenSearch) give them; which of them a build
// uses is not known, and one that asks elsewhere is not excused.
type Suggestion struct {
	Host, Path, Param string
	Known             map[string][]string
}

// The engines that the browser offers.
var (
	DuckDuckGo = Engine{
		Name: "DuckDuckGo", Host: "duckduckgo.com", Path: "/", Param: "q", Titles: []string{" at DuckDuckGo", " sur DuckDuckGo", " в DuckDuckGo"},
		Known:    map[string][]string{"t": {"xiaomi", "h_", "hx", "ha"}, "ia": {"web"}},
		Suggests: []Suggestion{{Host: "duckduckgo.com", Path: "/ac/", Param: "q", Known: map[string][]string{"type": {"list"}}}},
	}
	Google = Engine{
		Name: "Google", Host: "www.google.com", Path: "/search", Param: "q", Titles: []string{" - Google Search", " - Recherche Google", " - Поиск в Google"},
		Known: map[string][]string{"ie": {"UTF-8", "utf-8"}, "client": {"ms-android-xiaomi", "ms-android-xiaomi-rvo3"}, "source": {"android-browser"}, "hl": {"en", "fr", "ru"}},
		Suggests: []Suggestion{
			{Host: "www.google.com", Path: "/complete/search", Param: "q", Known: suggestKnown},
			{Host: "suggestqueries.google.com", Path: "/complete/search", Param: "q", Known: suggestKnown},
		},
	}
)

// suggestKnown are what says in which form Google is to answer, and in which
// language.
var suggestKnown = map[string][]string{"client": {"chrome", "firefox", "toolbar", "android"}, "output": {"toolbar", "firefox", "chrome"}, "ie": {"UTF-8", "utf-8"}, "oe": {"UTF-8", "utf-8"}, "hl": {"en", "fr", "ru"}}

// Engines are the engines that the browser offers.
func Engines() []Engine { return []Engine{DuckDuckGo, Google} }

// SearchWords is the canary's field of a search.
const SearchWords = "search words"

// Uses chooses the search engine in the browser's settings and reads it back.
func Uses(e Engine) harness.Step {
	return harness.Step{Name: "choose " + e.Name + " as search engine", Quiet: true, Do: func(ctx context.Context, act *harness.Act) error {
		wait, cancel := screenWait(ctx)
		defer cancel()
		if err := start(wait, act, settingsActivity); err != nil {
			return err
		}
		row := ui.And(ui.ByID("android:id/title"), ui.ByTexts(engineRow()...))
		now, err := engineNow(wait, act, row)
		if err != nil {
			return err
		}
		if now != e.Name {
			err := act.Perform(ctx, harness.Handling{
				Words: fmt.Sprintf("Choose %s as the search engine in the browser's settings, and come back to the list of settings", e.Name),
				Do: func(ctx context.Context) error {
					if err := act.Screen.TapOn(ctx, row); err != nil {
						return err
					}
					return act.Screen.TapOn(ctx, ui.And(ui.ByText(e.Name), ui.Or(ui.Checkable(), ui.ByID("android:id/text1"))))
				},
				Until: act.Showing(row),
			})
			if err != nil {
				return fmt.Errorf("browser: choose %s: %w", e.Name, err)
			}
			if now, err = engineNow(wait, act, row); err != nil {
				return err
			}
		}
		act.ReadBack("search engine", e.Name, now, now == e.Name)
		if err := leave(ctx, act); err != nil {
			return err
		}
		return nil
	}}
}

// engineRow is the row of the search engine, in the languages of the app. Only the
// English one is from the app's own resources.
func engineRow() []string {
	return []string{"Search engine", "Moteur de recherche", "Поисковая система"}
}

// engineNow reads the summary below the row's title.
func engineNow(ctx context.Context, act *harness.Act, row ui.Selector) (string, error) {
	title, err := act.Screen.WaitFor(ctx, row)
	if err != nil {
		return "", fmt.Errorf("browser: find the search engine's row: %w", err)
	}
	return summaryOf(title), nil
}

// summaryOf is the text of the summary that stands beside a row's title.
func summaryOf(title *ui.Node) string {
	if title.Parent == nil {
		return ""
	}
	if s := title.Parent.First(ui.ByID("android:id/summary")); s != nil {
		return s.Text
	}
	return ""
}

// Search types a canary into the address bar of the tab that is open, sends
// it, and waits until the engine's results page shows the words.
func Search(e Engine) harness.Step {
	return harness.Step{Name: "search " + e.Name, Do: func(ctx context.Context, act *harness.Act) error {
		if err := open(ctx, act); err != nil {
			return err
		}
		if err := stillIn(ctx, act, "before the search"); err != nil {
			return err
		}
		term, err := act.Canary(SearchWords)
		if err != nil {
			return err
		}
		return search(ctx, act, e, term)
	}}
}

// searches is how often SearchThrice searches.
const searches = 3

// SearchThrice searches for one term twice and for another of the same length
// once, in an order that is drawn at random: each time in a tab of its own, of the
// mode of the one that is open, which is left for the home screen. It waits until
// what was queued for one search is sent before it begins the next. What is the same
// for one term and different for the other depends on the words, even where it is
// a hash under a secret key.
func SearchThrice(e Engine) harness.Step {
	return harness.Step{Name: "search " + e.Name + " for one term twice and for another once", Do: func(ctx context.Context, act *harness.Act) error {
		if err := open(ctx, act); err != nil {
			return err
		}
		if err := stillIn(ctx, act, "before the searches"); err != nil {
			return err
		}
		mode := act.CurrentMode()
		twice, once, err := act.CanaryPair(SearchWords)
		if err != nil {
			return err
		}
		odd := act.Draw(searches)
		for i := range searches {
			if i > 0 {
				if err := home(ctx, act); err != nil {
					return fmt.Errorf("browser: leave search %d of %d: %w", i, searches, err)
				}
				if err := act.Settle(ctx); err != nil {
					return fmt.Errorf("browser: wait after search %d of %d: %w", i, searches, err)
				}
				if err := newTab(ctx, act, mode); err != nil {
					return err
				}
			}
			term := twice
			if i == odd {
				term = once
			}
			if err := search(ctx, act, e, term); err != nil {
				return fmt.Errorf("browser: search %d of %d: %w", i+1, searches, err)
			}
		}
		return nil
	}}
}

// search types a term into the open tab, sends it, and reads back the results.
func search(ctx context.Context, act *harness.Act, e Engine, term canary.Canary) error {
	act.Expect(harness.Expected{
		Canary: term.ID, Role: e.Name + "'s search", Host: e.Host, Path: e.Path, Param: e.Param, Known: e.Known,
	})
	for _, s := range e.Suggests {
		act.Expect(harness.Expected{
			Canary: term.ID, Role: e.Name + "'s suggestions", Host: s.Host, Path: s.Path, Param: s.Param, Known: s.Known, AsTyped: true,
		})
	}
	act.Types(term)
	if err := typeWords(ctx, act, term.Term); err != nil {
		return err
	}
	err := act.Perform(ctx, harness.Handling{
		Words: "Send the search, with the key Go or Enter of the keyboard", Acts: true,
		Do: func(ctx context.Context) error { return act.Screen.Key(ctx, ui.KeyEnter) },
	})
	if err != nil {
		return fmt.Errorf("browser: send the search: %w", err)
	}
	if err := readResults(ctx, act, e, term.Term); err != nil {
		return err
	}
	return stillIn(ctx, act, "after the search")
}

func typeWords(ctx context.Context, act *harness.Act, words string) error {
	bar := ui.And(ui.ByID(Package+":id/url"), ui.Focused())
	err := act.Perform(ctx, harness.Handling{
		Words: fmt.Sprintf("Tap the browser's address bar, empty it, and type exactly %q; do not send it yet, and take no suggestion", words),
		Do:    func(ctx context.Context) error { return fill(ctx, act, bar, words) },
		Until: act.Showing(bar),
	})
	if err != nil {
		return fmt.Errorf("browser: type the words: %w", err)
	}
	field, err := act.Screen.Find(ctx, bar)
	if err != nil {
		return fmt.Errorf("browser: read the address bar: %w", err)
	}
	act.ReadBack("words in the address bar", words, field.Text, field.Text == words)
	return nil
}

// fill puts words into the address bar.
func fill(ctx context.Context, act *harness.Act, bar ui.Selector, words string) error {
	wait, cancel := screenWait(ctx)
	defer cancel()
	if err := act.Screen.TapOn(wait, ui.ByID(Package+":id/url")); err != nil {
		return err
	}
	field, err := act.Screen.WaitFor(wait, bar)
	if err != nil {
		return fmt.Errorf("the address bar does not take the keys: %w", err)
	}
	if field.Text != "" {
		if err := act.Screen.Clear(wait, field); err != nil {
			return err
		}
	}
	return act.Screen.Type(wait, words)
}

// readResults waits for the results page or for the browser's own words that
// it did not come. Either is read back: a page that never loaded makes silence
// worthless.
func readResults(ctx context.Context, act *harness.Act, e Engine, words string) error {
	wait, cancel := context.WithTimeout(ctx, pageLimit)
	defer cancel()
	titles := make([]string, 0, len(e.Titles))
	for _, t := range e.Titles {
		titles = append(titles, words+t)
	}
	page := ui.And(ui.ByClass("android.webkit.WebView"), ui.ByTexts(titles...))
	lost := ui.Or(ui.ByTextPart("net::ERR"), ui.ByTextPart("unusual traffic"), ui.ByTextPart("are not a robot"), ui.ByTextPart("exceptionnel sur votre réseau"), ui.ByTextPart("подозрительный трафик"))
	var shown *ui.Node
	err := act.Screen.WaitUntil(wait, "the results page of "+e.Name, func(root *ui.Node) bool {
		shown = root
		return root.First(page) != nil || root.First(lost) != nil
	})
	if ctx.Err() != nil {
		return fmt.Errorf("browser: wait for the results page: %w", ctx.Err())
	}
	got := ""
	if shown != nil {
		got = strings.Join(shown.Words(6), " | ")
		if view := shown.First(page); view != nil && err == nil {
			got = view.Text
		}
	}
	act.ReadBack("results page of "+e.Name, strings.Join(titles, ", or "), got, err == nil && slices.Contains(titles, got))
	return nil
}
