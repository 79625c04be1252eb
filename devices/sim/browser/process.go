package browser

import (
	"context"
	"sync"
	"time"
)

// A lifetime is a context that ends when it is told to: the life of a process
// on the phone, which begins with a tap and belongs to no caller.
type lifetime struct {
	done chan struct{}
	end  sync.Once
}

var _ context.Context = (*lifetime)(nil)

func (*lifetime) Deadline() (deadline time.Time, ok bool) { return time.Time{}, false }
func (*lifetime) Value(any) any                           { return nil }
func (l *lifetime) Done() <-chan struct{}                 { return l.done }

func (l *lifetime) Err() error {
	select {
	case <-l.done:
		return context.Canceled
	default:
		return nil
	}
}

// A crew counts the goroutines of all processes, so that closing can wait for
// them.
type crew struct {
	mu     sync.Mutex
	closed bool
	active int
	wg     sync.WaitGroup
	// machine is what goes on while the browser's process is dead.
	machine *process
	first   sync.Once
}

func newCrew() *crew {
	c := &crew{}
	c.machine = c.process()
	return c
}

func (c *crew) once(f func()) { c.first.Do(f) }

func (c *crew) close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.machine.stop()
	c.wg.Wait()
}

// A process is a life of the browser.
type process struct {
	crew *crew
	life *lifetime
}

func (c *crew) process() *process {
	return &process{crew: c, life: &lifetime{done: make(chan struct{})}}
}

// spawn runs work until it returns; its context ends with the process. Dead
// processes spawn nothing.
func (p *process) spawn(work func(context.Context)) {
	p.crew.mu.Lock()
	defer p.crew.mu.Unlock()
	if p.crew.closed || p.life.Err() != nil {
		return
	}
	p.crew.wg.Add(1)
	p.crew.active++
	go func() {
		defer p.crew.wg.Done()
		work(p.life)
		p.crew.mu.Lock()
		p.crew.active--
		p.crew.mu.Unlock()
	}()
}

func (p *process) stop() { p.life.end.Do(func() { close(p.life.done) }) }

// pause waits, and reports whether the time has passed.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
