package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"
)

// limitOfTime ends a measurement that hangs.
const limitOfTime = 5 * time.Minute

// bed is what one measurement runs on: both halves of a system, maybe a link
// between them, and targets.
type bed struct {
	*settings
	system  string
	target  string     // the targets' address
	proxy   string     // where the client half listens
	halves  []*process // the server half and the client half
	running []*process // all processes, in the order of their start
	cancel  context.CancelFunc
}

// newBed starts the processes, and opens a first tunnel.
func newBed(s *settings, system string, f *figure) (*bed, error) {
	ctx, cancel := context.WithTimeout(context.Background(), limitOfTime)
	b := &bed{settings: s, system: system, cancel: cancel}
	if err := b.start(ctx, f); err != nil {
		b.end()
		return nil, fmt.Errorf("can't start %s: %w", system, err)
	}
	return b, nil
}

func (b *bed) start(ctx context.Context, f *figure) error {
	target, err := b.add(ctx, "target")
	if err != nil {
		return err
	}
	server, err := b.add(ctx, b.system+"-server", b.profile("server", f)...)
	if err != nil {
		return err
	}
	front := server
	if f.link != nil {
		if front, err = b.add(ctx, "link", append(f.link.flags(), "--server", server.address)...); err != nil {
			return err
		}
	}
	client, err := b.add(ctx, b.system+"-client", append(b.profile("client", f), "--server", front.address)...)
	if err != nil {
		return err
	}
	b.target, b.proxy, b.halves = target.address, client.address, []*process{server, client}
	return b.try()
}

// add starts a process that lasts as long as the bed.
func (b *bed) add(ctx context.Context, role string, flags ...string) (*process, error) {
	p, err := start(ctx, role, flags...)
	if err == nil {
		b.running = append(b.running, p)
	}
	return p, err
}

// profile is the flag that makes a half write one, if that is wanted.
func (b *bed) profile(half string, f *figure) []string {
	if b.Profile == "" {
		return nil
	}
	return []string{"--profile", filepath.Join(b.Profile, b.system+"-"+half+"-"+f.name+".pprof")}
}

// try opens a first tunnel. When it has worked, what a system keeps for all tunnels
// is there.
func (b *bed) try() error {
	c, err := b.tunnel(b.target, "echo")
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = roundTrip(c, []byte("x"))
	return err
}

// end ends the processes, the last one first.
func (b *bed) end() {
	for i := len(b.running) - 1; i >= 0; i-- {
		b.running[i].end()
	}
	b.cancel()
}

// cpu returns how much time of a CPU both halves have used so far.
func (b *bed) cpu() (total time.Duration, err error) {
	for _, p := range b.halves {
		used, err := p.cpu()
		if err != nil {
			return 0, err
		}
		total += used
	}
	return total, nil
}

// resident returns how much memory both halves have, in bytes.
func (b *bed) resident() (total int64, err error) {
	for _, p := range b.halves {
		has, err := p.resident()
		if err != nil {
			return 0, err
		}
		total += has
	}
	return total, nil
}
