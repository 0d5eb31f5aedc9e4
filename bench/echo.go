package main

import (
	"fmt"
	"net"
	"sync"
	"time"
)

// echoSize is how much goes to an echo and back.
const echoSize = 64

var echoing = &figure{
	name: "echo",
	how:  "64 bytes to an echo and back, over and over, on each of 1 and of 64 tunnels that are open already; no link between the halves.",
	rows: echoRows(),
	measure: func(b *bed) (values, error) {
		found := values{}
		for _, tunnels := range echoCases {
			trips, err := echoesOn(b, tunnels)
			if err != nil {
				return nil, err
			}
			found[count(tunnels)+", median"] = milliseconds(median(trips))
			found[count(tunnels)+", p99"] = milliseconds(quantile(trips, 0.99))
			found[count(tunnels)+", trips"] = float64(len(trips)) / b.Time.Seconds()
		}
		return found, nil
	},
}

// echoCases are the numbers of tunnels.
var echoCases = []int{1, 64}

func echoRows() (rows []row) {
	for _, tunnels := range echoCases {
		rows = append(rows,
			row{count(tunnels) + ", median", "ms", bound{}},
			row{count(tunnels) + ", p99", "ms", bound{}},
			row{count(tunnels) + ", trips", "1/s", bound{}})
	}
	return rows
}

func count(tunnels int) string {
	if tunnels == 1 {
		return "1 tunnel"
	}
	return fmt.Sprintf("%d tunnels", tunnels)
}

// echoesOn makes round trips on many tunnels at once.
func echoesOn(b *bed, tunnels int) ([]time.Duration, error) {
	conns := make([]tcp, tunnels)
	for i := range conns {
		c, err := b.tunnel(b.target, "echo")
		if err != nil {
			return nil, err
		}
		defer c.Close()
		conns[i] = c
	}
	var mu sync.Mutex
	var all []time.Duration
	err := together(tunnels, tunnels, func(i int) error {
		trips, err := echoes(conns[i], b.Time)
		mu.Lock()
		defer mu.Unlock()
		all = append(all, trips...)
		return err
	})
	return all, err
}

// echoes makes one round trip after the other for some time.
func echoes(c net.Conn, lasts time.Duration) (trips []time.Duration, err error) {
	p := make([]byte, echoSize)
	for began := time.Now(); time.Since(began) < lasts; {
		trip, err := roundTrip(c, p)
		if err != nil {
			return nil, err
		}
		trips = append(trips, trip)
	}
	return trips, nil
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
