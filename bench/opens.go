package main

import (
	"fmt"
	"sync/atomic"
	"time"
)

// openers is how many tools open tunnels at once.
const openers = 32

var opens = &figure{
	name: "opens",
	how: "32 tools, each of which opens a tunnel and closes it, over and over: once it has its 200, which may be early, and once a byte has gone " +
		"to an echo and back. And one tool alone that waits for its byte. No link between the halves.",
	rows: []row{
		{"32 at once, until the 200", "1/s", atLeast(2, "perconnect")},
		{"32 at once, until the first byte", "1/s", atLeast(2, "perconnect")},
		{"first byte, median", "ms", bound{}},
		{"first byte, p99", "ms", bound{}},
	},
	measure: func(b *bed) (values, error) {
		answered, err := b.opensPerSecond(b.answered)
		if err != nil {
			return nil, err
		}
		served, err := b.opensPerSecond(b.firstByte)
		if err != nil {
			return nil, err
		}
		var trips []time.Duration
		for began := time.Now(); time.Since(began) < b.Time; {
			trip, err := b.firstByte(b.target)
			if err != nil {
				return nil, err
			}
			trips = append(trips, trip)
		}
		return values{
			"32 at once, until the 200":        answered,
			"32 at once, until the first byte": served,
			"first byte, median":               milliseconds(median(trips)),
			"first byte, p99":                  milliseconds(quantile(trips, 0.99)),
		}, nil
	},
}

// opensPerSecond opens and closes tunnels as fast as it goes. Ports can't run out
// unless it goes faster than 28,000 in a second: Linux uses those of closed
// connections on loopback again after that (tcp_tw_reuse).
func (b *bed) opensPerSecond(open func(target string) (time.Duration, error)) (float64, error) {
	var opened atomic.Int64
	began := time.Now()
	err := together(openers, openers, func(int) error {
		for time.Since(began) < b.Time {
			if _, err := open(b.target); err != nil {
				return err
			}
			opened.Add(1)
		}
		return nil
	})
	return float64(opened.Load()) / time.Since(began).Seconds(), err
}

// answered is how long it takes until a tool that opens a tunnel has its 200.
func (b *bed) answered(target string) (time.Duration, error) {
	began := time.Now()
	c, err := b.connect(target)
	if err != nil {
		return 0, err
	}
	return time.Since(began), c.Close()
}

// firstByte is how long it takes until a tool that opens a tunnel has a byte back.
func (b *bed) firstByte(target string) (time.Duration, error) {
	began := time.Now()
	c, err := b.connect(target)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	if _, err := c.Write([]byte("echo\nx")); err != nil {
		return 0, err
	}
	_, err = c.Read(make([]byte, 1))
	return time.Since(began), err
}

var firstByte = &figure{
	name: "firstbyte",
	how: "From a tool's connection to the first byte back from an echo, over the link of distance: to a target that nobody asked for before, " +
		"and once more to the same one.",
	link: far,
	rows: []row{
		{"new target", "ms", bound{}},
		{"new target, in round trips", "", atMost(2.1, "")},
		{"seen target", "ms", bound{}},
		{"seen target, in round trips", "", atMost(1.1, "")},
	},
	measure: func(b *bed) (values, error) {
		var fresh, seen []time.Duration
		for began := time.Now(); time.Since(began) < 2*b.Time; {
			first, second, err := b.firstBytes()
			if err != nil {
				return nil, err
			}
			fresh, seen = append(fresh, first), append(seen, second)
		}
		found := values{}
		for name, trips := range map[string][]time.Duration{"new target": fresh, "seen target": seen} {
			found[name] = milliseconds(median(trips))
			found[name+", in round trips"] = milliseconds(median(trips)) / milliseconds(far.trip())
		}
		return found, nil
	},
}

// firstBytes asks for a target that is new, twice.
func (b *bed) firstBytes() (first, second time.Duration, err error) {
	c, err := ask(b.target, "listen")
	if err != nil {
		return 0, 0, err
	}
	defer c.Close() // until then the target is there
	var target string
	if _, err := fmt.Fscan(c, &target); err != nil {
		return 0, 0, err
	}
	if first, err = b.firstByte(target); err != nil {
		return 0, 0, err
	}
	second, err = b.firstByte(target)
	return first, second, err
}
