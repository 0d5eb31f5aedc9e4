package main

import "time"

// warmUp is how long transfers run before they are measured, at most.
const warmUp = 300 * time.Millisecond

var throughput = &figure{
	name: "throughput",
	how:  "Endless transfers over tunnels that are open already, no link between the halves; the CPU time is both halves' together.",
	rows: throughputRows(),
	measure: func(b *bed) (values, error) {
		found := values{}
		for _, c := range throughputCases() {
			rate, cpu, err := c.measure(b)
			if err != nil {
				return nil, err
			}
			found[c.String()] = rate / 1e6
			found[c.String()+", CPU"] = cpu * 1e9
		}
		return found, nil
	},
}

// throughputCase is a number of tunnels, and the way that their bytes go.
type throughputCase struct {
	tunnels int
	way     string
}

func (c throughputCase) String() string { return count(c.tunnels) + " " + c.way }

func throughputCases() []throughputCase {
	return []throughputCase{{1, "up"}, {1, "down"}, {8, "up"}, {8, "down"}}
}

func throughputRows() (rows []row) {
	for _, c := range throughputCases() {
		rows = append(rows,
			row{c.String(), "MB/s", atLeast(2, "perconnect")},
			row{c.String() + ", CPU", "s/GB", atMost(0.5, "perconnect")})
	}
	return rows
}

// measure returns bytes per second, and seconds of CPU for each byte.
func (c throughputCase) measure(b *bed) (rate, cpu float64, err error) {
	t := &traffic{bed: b}
	defer t.stop()
	start := t.up
	if c.way == "down" {
		start = t.down
	}
	if err := start(c.tunnels); err != nil {
		return 0, 0, err
	}
	time.Sleep(min(warmUp, b.Time))
	before, err := t.read()
	if err != nil {
		return 0, 0, err
	}
	time.Sleep(b.Time)
	after, err := t.read()
	rate, cpu = after.since(before)
	return rate, cpu, err
}
