package main

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// far is a fast link to a place far away. Its queue is what it holds: a round
// trip of its rate.
var far = &Link{Delay: 40 * time.Millisecond, Rate: 500_000_000, Queue: 5_000_000}

var distance = &figure{
	name: "distance",
	how: "One transfer over a link of 500 Mbit/s and 80 ms round trip, whose queue is 5 MB each way; " +
		"from the tool's connection to the last byte, or the target's word that it has all.",
	amount: func(s *settings) string { return fmt.Sprintf("The transfer is of %d MB.", s.Megabytes) },
	link:   far,
	rows: []row{
		{"up", "s", atMost(1/0.98, "limit")},
		{"down", "s", atMost(1/0.98, "limit")},
	},
	measure: func(b *bed) (values, error) {
		up, err := b.timed(upload)
		if err != nil {
			return nil, err
		}
		down, err := b.timed(download)
		return values{"up": up, "down": down}, err
	},
}

// timed returns the seconds that a transfer takes.
func (b *bed) timed(transfer func(*bed, int64) error) (float64, error) {
	began := time.Now()
	err := transfer(b, b.Megabytes*1e6)
	return time.Since(began).Seconds(), err
}

// upload sends n bytes, and waits for the target to say that it has them.
func upload(b *bed, n int64) error {
	c, err := b.tunnel(b.target, "sink")
	if err != nil {
		return err
	}
	defer c.Close()
	if err := pour(c, n); err != nil {
		return err
	}
	if err := c.CloseWrite(); err != nil {
		return err
	}
	var arrived int64
	_, err = fmt.Fscan(c, &arrived)
	return errors.Join(err, complete(arrived, n))
}

// download reads n bytes up to the end.
func download(b *bed, n int64) error {
	c, err := b.tunnel(b.target, fmt.Sprint("source ", n))
	if err != nil {
		return err
	}
	defer c.Close()
	var count atomic.Int64
	arrived, err := drain(c, &count)
	return errors.Join(err, complete(arrived, n))
}

func complete(arrived, sent int64) error {
	if arrived != sent {
		return fmt.Errorf("%d of %d bytes arrived", arrived, sent)
	}
	return nil
}
