package main

import "time"

// busy is a slow link that transfers fill.
var busy = &Link{Delay: 20 * time.Millisecond, Rate: 20_000_000, Queue: 64 << 10}

var loaded = &figure{
	name: "loaded",
	how: "An echo of 64 bytes on one tunnel while 4 uploads and 4 downloads fill a link of 20 Mbit/s and 40 ms round trip, " +
		"whose queue is 64 KiB each way, for five times as long as the other measurements; the share is of both directions' rate.",
	link: busy,
	rows: []row{
		{"median", "ms", atMost(100, "")},
		{"p99", "ms", bound{}},
		{"share of the rate", "%", atLeast(90, "")},
	},
	measure: func(b *bed) (values, error) {
		t := &traffic{bed: b}
		defer t.stop()
		if err := t.up(4); err != nil {
			return nil, err
		}
		if err := t.down(4); err != nil {
			return nil, err
		}
		c, err := b.tunnel(b.target, "echo")
		if err != nil {
			return nil, err
		}
		defer c.Close()
		if _, err := echoes(c, 2*b.Time); err != nil { // until the queues are full
			return nil, err
		}
		before, err := t.read()
		if err != nil {
			return nil, err
		}
		trips, err := echoes(c, 5*b.Time)
		if err != nil {
			return nil, err
		}
		after, err := t.read()
		rate, _ := after.since(before)
		return values{
			"median":            milliseconds(median(trips)),
			"p99":               milliseconds(quantile(trips, 0.99)),
			"share of the rate": 100 * rate * 8 / float64(2*busy.Rate),
		}, err
	},
}
