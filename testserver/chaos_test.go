package testserver

import (
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestParseFaults(t *testing.T) {
	for list, want := range map[string]Faults{
		"":              {},
		"drop=5s":       {Drop: 5 * time.Second},
		"freeze=30s/3s": {FreezeEach: 30 * time.Second, FreezeFor: 3 * time.Second},
		"latency=40ms":  {Latency: 40 * time.Millisecond},
		"rate=20mbit":   {Rate: 20_000_000},
		"rate=500kbit":  {Rate: 500_000},
		"rate=1gbit":    {Rate: 1_000_000_000},
		"rate=300bit":   {Rate: 300},
		"drop=1s,rate=1mbit,latency=1ms,freeze=1s/1s": {
			Drop: time.Second, Rate: 1_000_000, Latency: time.Millisecond, FreezeEach: time.Second, FreezeFor: time.Second},
	} {
		if got, err := ParseFaults(list); err != nil || got != want {
			t.Errorf("%q: %+v, %v; want %+v", list, got, err, want)
		}
	}
	for _, bad := range []string{"x", "drop", "drop=", "drop=5", "drop=-1s", "drop=0s", "freeze=1s", "freeze=1s/", "freeze=/1s",
		"rate=20", "rate=mbit", "rate=-1mbit", "rate=0bit", "rate=1tbit", "latency=slow", "drop=1s,", "drop=1s rate=1mbit"} {
		if got, err := ParseFaults(bad); err == nil {
			t.Errorf("%q: %+v; want an error", bad, got)
		}
	}
}

func FuzzParseFaults(f *testing.F) {
	for _, seed := range []string{"drop=5s,freeze=30s/3s,latency=40ms,rate=20mbit", "rate=1gbit", ",", "freeze=/"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, list string) {
		faults, err := ParseFaults(list)
		if err != nil && faults != (Faults{}) {
			t.Errorf("%q: %+v beside the error %v", list, faults, err)
		}
		if faults.Drop < 0 || faults.FreezeEach < 0 || faults.FreezeFor < 0 || faults.Latency < 0 || faults.Rate < 0 {
			t.Errorf("%q: %+v; no fault is negative", list, faults)
		}
	})
}
