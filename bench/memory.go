package main

import (
	"bytes"
	"errors"
	"fmt"
	"time"
)

const (
	// maxDescriptors is how many files a half may have open, well below what the system allows.
	maxDescriptors = 12_000
	// openingAtOnce is how many tunnels are being opened, or moved over, at once.
	openingAtOnce = 64
	// burst is what each tunnel moves each way.
	burst = 64 << 10
)

// descriptors is how many files a half has open for each tunnel.
var descriptors = map[string]int{
	"limit":      6, // two connections, and a pipe for each direction
	"perconnect": 2,
	"ferry":      1,
}

var memory = &figure{
	name: "memory",
	how: "Resident memory of both halves together for each open tunnel, beyond what they had before: after each tunnel has echoed a byte, " +
		"and once more after each has moved 64 KiB both ways.",
	amount: func(s *settings) string {
		return fmt.Sprintf("There are %d tunnels of limit, %d of perconnect, %d of ferry; memory is looked at %v later.",
			s.tunnelsOf("limit"), s.tunnelsOf("perconnect"), s.tunnelsOf("ferry"), s.Settle)
	},
	rows: []row{
		{"idle", "KiB", atMost(16, "")},
		{"after a burst", "KiB", bound{}},
	},
	measure: func(b *bed) (values, error) {
		before, err := b.resident()
		if err != nil {
			return nil, err
		}
		conns := make([]tcp, b.tunnelsOf(b.system))
		defer closeAll(conns)
		if err := b.openAll(conns); err != nil {
			return nil, err
		}
		idle, err := b.kibSince(before, b.Settle, len(conns))
		if err != nil {
			return nil, err
		}
		if err := moveAll(conns, burst); err != nil {
			return nil, err
		}
		after, err := b.kibSince(before, b.Settle, len(conns))
		return values{"idle": idle, "after a burst": after}, err
	},
}

// tunnelsOf is how many tunnels of a system are opened: as many as wanted, if its
// halves can have that many.
func (s *settings) tunnelsOf(system string) int {
	return min(s.Tunnels, maxDescriptors/descriptors[system])
}

// kibSince returns how many KiB the halves have more than before for each tunnel,
// after some time.
func (b *bed) kibSince(before int64, after time.Duration, tunnels int) (float64, error) {
	time.Sleep(after)
	now, err := b.resident()
	return float64(now-before) / 1024 / float64(tunnels), err
}

// openAll opens tunnels to an echo, and lets each echo a byte.
func (b *bed) openAll(conns []tcp) error {
	return together(len(conns), openingAtOnce, func(i int) (err error) {
		if conns[i], err = b.tunnel(b.target, "echo"); err != nil {
			return err
		}
		_, err = roundTrip(conns[i], []byte("x"))
		return err
	})
}

// moveAll sends that many bytes to each echo, and checks what comes back.
func moveAll(conns []tcp, n int) error {
	return together(len(conns), openingAtOnce, func(i int) error {
		sent := bytes.Repeat([]byte{byte(i)}, n)
		got := bytes.Clone(sent)
		if _, err := roundTrip(conns[i], got); err != nil {
			return err
		}
		if !bytes.Equal(got, sent) {
			return errors.New("an echo is not what was sent")
		}
		return nil
	})
}

func closeAll(conns []tcp) {
	for _, c := range conns {
		if c != nil {
			_ = c.Close()
		}
	}
}
