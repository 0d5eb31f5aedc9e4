package main

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// traffic is transfers without end, counted where their bytes arrive.
type traffic struct {
	bed     *bed
	conns   []tcp
	came    atomic.Int64 // here; the targets count what comes to them
	running sync.WaitGroup
}

// up starts n uploads.
func (t *traffic) up(n int) error {
	return t.add(n, "sink", func(c tcp) { _ = pour(c, 0) })
}

// down starts n downloads.
func (t *traffic) down(n int) error {
	return t.add(n, "source 0", func(c tcp) { _, _ = drain(c, &t.came) })
}

func (t *traffic) add(n int, request string, run func(tcp)) error {
	for range n {
		c, err := t.bed.tunnel(t.bed.target, request)
		if err != nil {
			return err
		}
		t.conns = append(t.conns, c)
		t.running.Go(func() { run(c) })
	}
	return nil
}

// moved returns how many bytes have arrived so far, at either end.
func (t *traffic) moved() (int64, error) {
	c, err := ask(t.bed.target, "sunk")
	if err != nil {
		return 0, err
	}
	defer c.Close()
	var sunk int64
	_, err = fmt.Fscan(c, &sunk)
	return sunk + t.came.Load(), err
}

// stop cuts the transfers.
func (t *traffic) stop() {
	for _, c := range t.conns {
		_ = c.Close()
	}
	t.running.Wait()
}

// reading is how far a bed has got.
type reading struct {
	at    time.Time
	moved int64
	cpu   time.Duration // of both halves
}

func (t *traffic) read() (r reading, err error) {
	if r.moved, err = t.moved(); err != nil {
		return r, err
	}
	r.at = time.Now()
	r.cpu, err = t.bed.cpu()
	return r, err
}

// since returns the bytes per second since an earlier reading, and the seconds of
// CPU for each byte.
func (r reading) since(before reading) (rate, cpu float64) {
	moved := float64(r.moved - before.moved)
	return moved / r.at.Sub(before.at).Seconds(), (r.cpu - before.cpu).Seconds() / moved
}
