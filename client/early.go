package client

import (
	"errors"
	"fmt"
	"strings"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"ferry/wire"
)

// EarlyOpen says when a CONNECT is answered before its target is connected. That
// saves the tool a round trip to the endpoint; but if the endpoint then refuses
// the target, the tool sees its connection reset behind the 200, where it would
// have got a status that says why. Only the log says it then.
type EarlyOpen string

const (
	// EarlyOpenAuto answers 200 at once if the target connected in the last 10
	// minutes and has not failed since. Any other target gets its true status.
	// So a target that begins to fail costs one reset, or a few if more tunnels
	// to it were opened before the first refusal was here.
	EarlyOpenAuto EarlyOpen = "auto"
	// EarlyOpenAlways answers 200 at once whenever there is a session. No target
	// is ever refused with a status.
	EarlyOpenAlways EarlyOpen = "always"
	// EarlyOpenNever waits for the endpoint. Each target gets its true status.
	EarlyOpenNever EarlyOpen = "never"
)

func (e EarlyOpen) check() error {
	switch e {
	case EarlyOpenAuto, EarlyOpenAlways, EarlyOpenNever:
		return nil
	}
	return fmt.Errorf("bad early open %q: it must be auto, always or never", string(e))
}

// opensEarly reports whether a CONNECT to target is answered at once.
func (c *Client) opensEarly(target wire.Target) bool {
	switch c.config.EarlyOpen {
	case EarlyOpenAlways:
		return true
	case EarlyOpenNever:
		return false
	}
	return c.known.expected(target)
}

const (
	// goodFor is how long a target that connected is expected to connect again.
	goodFor = 10 * time.Minute
	// maxKnown is how many targets are remembered; beyond, the one whose last
	// connection is the oldest is forgotten.
	maxKnown = 4096
)

// memory is which targets connected well, and when each last did.
type memory struct {
	last *lru.Cache[wire.Target, time.Time]
}

func newMemory() memory {
	last, _ := lru.New[wire.Target, time.Time](maxKnown) // fails for a size below 1 only
	return memory{last}
}

// expected reports whether a target is expected to connect.
func (m memory) expected(target wire.Target) bool {
	at, known := m.last.Peek(folded(target))
	return known && time.Since(at) < goodFor
}

// connected notes that a target has connected just now.
func (m memory) connected(target wire.Target) {
	// By the wall clock: the other one stands still while a sandbox is paused.
	m.last.Add(folded(target), time.Now().Round(0))
}

// failed forgets a target.
func (m memory) failed(target wire.Target) { m.last.Remove(folded(target)) }

// answered notes the endpoint's answer about a target.
func (m memory) answered(target wire.Target, connected bool) {
	if connected {
		m.connected(target)
	} else {
		m.failed(target)
	}
}

// folded makes names that differ in case the same target.
func folded(target wire.Target) wire.Target {
	target.Host = strings.ToLower(target.Host)
	return target
}

// spoiled reports whether a tunnel failed by its target's doing before it was of
// any use. A tool that resets, or a session that is lost, says nothing about the
// target.
func spoiled(out wire.Outcome) bool {
	var abort *wire.AbortError
	return out.FromTunnel == 0 && errors.As(out.Err, &abort) && abort.Remote &&
		(abort.Code == wire.AbortReset || abort.Code == wire.AbortTimeout)
}
