package main

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"time"
)

// check measures what a link does to a plain TCP connection, so that a reader sees
// whether it is what it is meant to be.
func (l *Link) check(lasts time.Duration) (trip time.Duration, rate float64, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), limitOfTime)
	defer cancel()
	target, err := start(ctx, "target")
	if err != nil {
		return 0, 0, err
	}
	defer target.end()
	link, err := start(ctx, "link", append(l.flags(), "--server", target.address)...)
	if err != nil {
		return 0, 0, err
	}
	defer link.end()
	if trip, err = tripOver(link.address); err != nil {
		return 0, 0, err
	}
	rate, err = rateOver(link.address, l.trip()+warmUp, lasts)
	return trip, rate, err
}

// tripOver is the median round trip of a few small echoes.
func tripOver(address string) (time.Duration, error) {
	c, err := ask(address, "echo")
	if err != nil {
		return 0, err
	}
	defer c.Close()
	var trips []time.Duration
	for range 10 {
		trip, err := roundTrip(c, make([]byte, echoSize))
		if err != nil {
			return 0, err
		}
		trips = append(trips, trip)
	}
	return median(trips[1:]), nil // the first one pays for the connection
}

// rateOver is how many bits per second a download gets, once it has run for some
// time.
func rateOver(address string, after, lasts time.Duration) (float64, error) {
	c, err := ask(address, "source 0")
	if err != nil {
		return 0, err
	}
	defer c.Close()
	var came atomic.Int64
	go func() { _, _ = drain(c, &came) }()
	time.Sleep(after)
	began, before := time.Now(), came.Load()
	time.Sleep(lasts)
	return float64(came.Load()-before) * 8 / time.Since(began).Seconds(), nil
}

// checks describes the links of some figures, and what they were found to be.
func checks(figures []*figure, lasts time.Duration) (lines []string, err error) {
	users := map[*Link][]string{}
	for _, f := range figures {
		users[f.link] = append(users[f.link], f.name)
	}
	for _, l := range []*Link{far, busy} {
		if users[l] == nil {
			continue
		}
		trip, rate, err := l.check(lasts)
		if err != nil {
			return nil, fmt.Errorf("the link of %v: %w", users[l], err)
		}
		lines = append(lines, fmt.Sprintf("The link of %s is to have a round trip of %v, which a new TCP connection pays for, too, and %d Mbit/s. "+
			"A plain TCP connection over it found %.1f ms and %.1f Mbit/s.",
			strings.Join(users[l], " and "), l.trip(), l.Rate/1e6, milliseconds(trip), rate/1e6))
	}
	return lines, nil
}
