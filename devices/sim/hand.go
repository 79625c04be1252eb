package sim

import (
	"fmt"
	"html/template"
	"net/http"
	"strconv"
	"time"

	"github.com/offproof/offproof/devices/sim/screen"
)

// lendHand adds to the control door what a person has who holds a phone: eyes and
// a finger.
func (w *World) lendHand(mux *http.ServeMux) {
	on := func(pattern string, do func(p *Phone, rw http.ResponseWriter, r *http.Request) error) {
		mux.HandleFunc(pattern, func(rw http.ResponseWriter, r *http.Request) {
			p := w.Phone(r.PathValue("serial"))
			if p == nil {
				http.Error(rw, "no such phone", http.StatusNotFound)
				return
			}
			if err := do(p, rw, r); err != nil {
				http.Error(rw, err.Error(), http.StatusConflict)
			}
		})
	}
	on("GET /phones/{serial}/screen", func(p *Phone, rw http.ResponseWriter, _ *http.Request) error {
		rw.Header().Set("Content-Type", "image/png")
		rw.Header().Set("Cache-Control", "no-store")
		_, err := rw.Write(p.display.PNG())
		return err
	})
	on("GET /phones/{serial}/tree", func(p *Phone, rw http.ResponseWriter, _ *http.Request) error {
		rw.Header().Set("Content-Type", "text/xml")
		_, err := rw.Write(p.display.Dump(false))
		return err
	})
	on("GET /phones/{serial}/hand", func(p *Phone, rw http.ResponseWriter, _ *http.Request) error {
		rw.Header().Set("Content-Type", "text/html; charset=utf-8")
		return handPage.Execute(rw, map[string]any{"Serial": p.serial, "Model": p.Model(), "Width": screen.Width, "Height": screen.Height})
	})
	on("POST /phones/{serial}/hand/tap", func(p *Phone, _ http.ResponseWriter, r *http.Request) error {
		n, err := numbers(r, "x", "y")
		if err == nil {
			p.display.Tap(n[0], n[1])
		}
		return err
	})
	on("POST /phones/{serial}/hand/swipe", func(p *Phone, _ http.ResponseWriter, r *http.Request) error {
		n, err := numbers(r, "x", "y", "x2", "y2", "ms")
		if err == nil {
			p.display.Swipe(n[0], n[1], n[2], n[3], time.Duration(n[4])*time.Millisecond)
		}
		return err
	})
	on("POST /phones/{serial}/hand/key", func(p *Phone, _ http.ResponseWriter, r *http.Request) error {
		n, err := numbers(r, "code")
		if err == nil {
			p.display.Key(n[0])
		}
		return err
	})
	on("POST /phones/{serial}/hand/text", func(p *Phone, _ http.ResponseWriter, r *http.Request) error {
		p.display.Text(r.URL.Query().Get("text"))
		return nil
	})
}

// numbers reads parameters of a request.
func numbers(r *http.Request, names ...string) ([]int, error) {
	var out []int
	for _, name := range names {
		text := r.URL.Query().Get(name)
		n, err := strconv.Atoi(text)
		if err != nil {
			return nil, fmt.Errorf("sim: %s=%q is no number", name, text)
		}
		out = append(out, n)
	}
	return out, nil
}

// handPage shows a phone and takes clicks, drags and keys.
var handPage = template.Must(template.New("hand").Parse(`<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{{.Serial}}</title>
<style>
body{margin:0;background:#202124;color:#e8eaed;font:14px/1.4 system-ui,sans-serif;display:flex;gap:24px;justify-content:center;padding:16px}
img{height:calc(100vh - 32px);border-radius:24px;box-shadow:0 0 0 6px #3c4043;cursor:pointer;touch-action:none;user-select:none}
aside{max-width:15em}h1{font-size:18px;margin:0 0 4px}button{font:inherit;display:block;width:100%;margin:6px 0;padding:8px;border:0;border-radius:8px;background:#3c4043;color:inherit;cursor:pointer}
button:hover{background:#5f6368}p{color:#9aa0a6}
</style>
<img id="screen" alt="the screen of {{.Serial}}" draggable="false" src="screen">
<aside><h1>{{.Model}}</h1><p>{{.Serial}}, simulated. Click to tap, drag to swipe, and type: what you type goes to the field that has the focus.</p>
<button data-code="4">Back</button><button data-code="3">Home</button><button data-code="187">Recent apps</button><button data-code="26">Power</button></aside>
<script>
const screen = document.getElementById("screen"), width = {{.Width}}, height = {{.Height}}
const show = () => { screen.src = "screen?" + Date.now() }
const send = (what, values) => fetch("hand/" + what + "?" + new URLSearchParams(values), {method: "POST"}).then(() => setTimeout(show, 80))
const place = e => { const r = screen.getBoundingClientRect(); return [Math.round((e.clientX - r.left) * width / r.width), Math.round((e.clientY - r.top) * height / r.height)] }
let from
screen.onpointerdown = e => { from = [...place(e), Date.now()]; screen.setPointerCapture(e.pointerId) }
screen.onpointerup = e => {
  if (!from) return
  const [x, y] = place(e)
  send("swipe", {x: from[0], y: from[1], x2: x, y2: y, ms: Date.now() - from[2]})
  from = null
}
for (const b of document.querySelectorAll("button")) b.onclick = () => { send("key", {code: b.dataset.code}); b.blur() }
document.onkeydown = e => {
  const code = {Enter: 66, Backspace: 67, Tab: 61, Escape: 4, End: 123, Home: 122}[e.key]
  if (code) send("key", {code}); else if (e.key.length === 1 && !e.ctrlKey && !e.metaKey) send("text", {text: e.key}); else return
  e.preventDefault()
}
setInterval(show, 700)
</script>
</html>
`))
