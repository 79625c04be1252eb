package internet_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/offproof/offproof/devices/sim/internet"
)

func benchWorld(b *testing.B) *internet.Internet {
	n, err := internet.New(context.Background(), internet.Config{MaxBody: 1 << 10, MaxBodies: 1 << 20})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { n.Close() })
	addHost(b, n, internet.HostConfig{Name: "site.example", Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		io.WriteString(w, "ok")
	})})
	return n
}

// BenchmarkRequests measures HTTPS requests, over kept and over new connections.
func BenchmarkRequests(b *testing.B) {
	for _, kept := range []bool{true, false} {
		for _, phones := range []int{1, 64} {
			b.Run(fmt.Sprintf("kept=%v/phones=%d", kept, phones), func(b *testing.B) {
				n := benchWorld(b)
				clients := make([]*http.Client, phones)
				for i := range clients {
					phone := attach(b, n, fmt.Sprint(i))
					phone.Tap("wlan0", func(time.Time, []byte) {})
					clients[i] = client(b, n, phone, "tcp")
					clients[i].Transport.(*http.Transport).DisableKeepAlives = !kept
				}
				b.ResetTimer()
				var wg sync.WaitGroup
				for i, c := range clients {
					wg.Go(func() {
						for j := i; j < b.N; j += phones {
							r, err := c.Get("https://site.example/")
							if err != nil {
								b.Error(err)
								return
							}
							io.Copy(io.Discard, r.Body)
							r.Body.Close()
						}
					})
				}
				wg.Wait()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
			})
		}
	}
}

// BenchmarkUpload measures bytes sent by one phone, with a tap on it.
func BenchmarkUpload(b *testing.B) {
	n := benchWorld(b)
	phone := attach(b, n, "p")
	tap := phone.OpenTap("wlan0", func(time.Time, []byte) {})
	c := client(b, n, phone, "tcp")
	body := make([]byte, 8<<20)
	b.SetBytes(int64(len(body)))
	b.ResetTimer()
	for range b.N {
		r, err := c.Post("http://site.example/", "x/y", bytes.NewReader(body))
		if err != nil {
			b.Fatal(err)
		}
		r.Body.Close()
	}
	b.StopTimer()
	tap.Stop()
	c2 := phone.Counters()["wlan0"]
	b.ReportMetric(float64(tap.Dropped()), "tap-drops")
	b.ReportMetric(float64(c2.TxDropped+c2.RxDropped), "wire-drops")
}

// BenchmarkAttach measures what a phone costs.
func BenchmarkAttach(b *testing.B) {
	n := benchWorld(b)
	for range b.N {
		attach(b, n, "p").Close()
	}
}
