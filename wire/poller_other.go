//go:build !linux

package wire

import "syscall"

// poller is not to be had here: idle connections wait as Go has it.
type poller struct{}

type idler struct{}

func newPoller() *poller { return nil }

func (p *poller) close() {}

func (p *poller) idler(syscall.RawConn, func()) *idler { return nil }

func (p *poller) add(*idler) bool { return false }

func (p *poller) remove(*idler) {}
