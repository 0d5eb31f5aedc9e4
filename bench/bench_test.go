package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// The test binary is a half when it is started as one.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "half" {
		main()
		return
	}
	// The race detector would let each half wait for a second at its end.
	_ = os.Setenv("GORACE", "atexit_sleep_ms=0")
	goleak.VerifyTestMain(m)
}

// small is as little of everything as will do.
func small() *settings {
	return &settings{Time: 50 * time.Millisecond, Rounds: 1, Megabytes: 1, Tunnels: 20, Settle: 10 * time.Millisecond}
}

// startBed starts the processes of a measurement. They end with the test, and of
// their own accord.
func startBed(t *testing.T, system string, f *figure) *bed {
	t.Helper()
	b, err := newBed(small(), system, f)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		b.end()
		for _, p := range b.running {
			if !p.cmd.ProcessState.Success() {
				t.Errorf("%v: %v", p.cmd.Args[2:], p.cmd.ProcessState)
			}
		}
	})
	return b
}

func TestEveryFigureOfEverySystem(t *testing.T) {
	t.Parallel()
	run := runCommand{settings: *small()}
	for _, f := range figures {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			err := together(len(systems), len(systems), func(i int) error {
				found, err := run.once(systems[i], f)
				return errors.Join(err, plausible(f, found))
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}

// plausible checks that every row has a value, and a positive one. So short a run
// may use no memory, though, and less than a tick of the CPU.
func plausible(f *figure, found values) error {
	for _, w := range f.rows {
		value, there := found[w.name]
		coarse := w.unit == "KiB" || w.unit == "s/GB"
		if !there || math.IsNaN(value) || math.IsInf(value, 0) || value <= 0 && !coarse {
			return fmt.Errorf("%s: %v (there: %v); want a positive number", w.name, value, there)
		}
	}
	if len(found) != len(f.rows) {
		return fmt.Errorf("found %v, which is more than the rows %v", found, f.rows)
	}
	return nil
}

// What goes into a tunnel comes out of it, and its end behind it, also over a link.
func TestTunnelsCarryWhatTheyAreGiven(t *testing.T) {
	t.Parallel()
	sent := make([]byte, 1<<20)
	_, _ = rand.NewChaCha8([32]byte{}).Read(sent)
	over := &figure{name: "test", link: &Link{Delay: 5 * time.Millisecond, Rate: 200_000_000}}
	for _, system := range systems {
		t.Run(system, func(t *testing.T) {
			t.Parallel()
			b := startBed(t, system, over)
			c, err := b.tunnel(b.target, "echo")
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			go func() {
				_, _ = c.Write(sent)
				_ = c.CloseWrite()
			}()
			got, err := io.ReadAll(c)
			if err != nil || !bytes.Equal(got, sent) {
				t.Errorf("of %d bytes came %d, then %v; want the same ones, and a clean EOF", len(sent), len(got), err)
			}
		})
	}
}

// A target that can't be connected is refused, not answered with 200.
func TestRefusedTargets(t *testing.T) {
	t.Parallel()
	closed, err := listen()
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	for _, system := range systems {
		b := startBed(t, system, &figure{name: "test"})
		if c, err := b.connect(closed.Addr().String()); err == nil {
			t.Errorf("%s: a tunnel to nowhere", system)
			_ = c.Close()
		}
	}
}

// A link is checked against what it is to be; how near it comes is not asserted.
func TestLinksAreChecked(t *testing.T) {
	t.Parallel()
	l := &Link{Delay: 5 * time.Millisecond, Rate: 50_000_000}
	trip, rate, err := l.check(100 * time.Millisecond)
	if err != nil || trip < l.trip() || rate <= 0 {
		t.Errorf("found %v and %.0f bit/s, %v; want no less than %v, and some rate", trip, rate, err, l.trip())
	}
}
