package client

import (
	"errors"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"ferry/wire"
)

var service = wire.Target{Host: "service.example", Port: 443}

func TestTargetThatConnectedIsExpectedForTenMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		expect := func(when string, want bool) {
			t.Helper()
			if got := m.expected(service); got != want {
				t.Errorf("%s: expected is %v, want %v", when, got, want)
			}
		}
		expect("a new target", false)
		m.connected(service)
		expect("after it connected", true)
		time.Sleep(10*time.Minute - 1)
		expect("just before 10 minutes are over", true)
		m.connected(service)
		time.Sleep(10*time.Minute - 1)
		expect("10 minutes after it connected first", true)
		time.Sleep(time.Nanosecond)
		expect("10 minutes after it connected last", false)
	})
}

func TestTargetIsForgottenOnItsFirstFailure(t *testing.T) {
	m := newMemory()
	for range 3 {
		m.answered(service, true)
	}
	m.answered(service, false)
	if m.expected(service) {
		t.Error("a target that was refused is expected to connect")
	}
	m.answered(service, true)
	if !m.expected(service) {
		t.Error("a target that connected again is not expected to connect")
	}
}

func TestTargetsAreToldApart(t *testing.T) {
	m := newMemory()
	m.connected(service)
	if !m.expected(wire.Target{Host: "Service.EXAMPLE", Port: 443}) {
		t.Error("a name in capitals is another target")
	}
	for _, other := range []wire.Target{{Host: "service.example", Port: 80}, {Host: "example", Port: 443}} {
		if m.expected(other) {
			t.Errorf("%v is expected to connect, because %v did", other, service)
		}
	}
	m.failed(wire.Target{Host: "SERVICE.example", Port: 443})
	if m.expected(service) {
		t.Error("the failure of a name in capitals was not noted")
	}
}

func TestMemoryIsBounded(t *testing.T) {
	m := newMemory()
	nth := func(i int) wire.Target { return wire.Target{Host: "h" + strconv.Itoa(i), Port: 1} }
	for i := range 10 * maxKnown {
		m.connected(nth(i))
		m.connected(service)
	}
	if n := m.last.Len(); n != maxKnown {
		t.Errorf("%d targets are remembered; want %d", n, maxKnown)
	}
	if m.expected(nth(0)) || !m.expected(nth(10*maxKnown-1)) || !m.expected(service) {
		t.Error("those that connected last must be remembered, and no others")
	}
}

func TestWhoseFaultAFailedTunnelIs(t *testing.T) {
	far := func(code wire.AbortCode) error { return &wire.AbortError{Code: code, Remote: true} }
	for _, c := range []struct {
		what string
		out  wire.Outcome
		want bool
	}{
		{"reset by the target", wire.Outcome{ToTunnel: 5, Err: far(wire.AbortReset)}, true},
		{"the target timed out", wire.Outcome{Err: far(wire.AbortTimeout)}, true},
		{"reset by the target after an answer", wire.Outcome{FromTunnel: 1, Err: far(wire.AbortReset)}, false},
		{"the endpoint shuts down", wire.Outcome{Err: far(wire.AbortShutdown)}, false},
		{"the endpoint's own fault", wire.Outcome{Err: far(wire.AbortInternalError)}, false},
		{"the session was lost", wire.Outcome{Err: &wire.AbortError{Code: wire.AbortCut, Err: errors.New("gone")}}, false},
		{"the tool resets", wire.Outcome{Err: syscall.ECONNRESET}, false},
		{"it ended well", wire.Outcome{}, false},
	} {
		if got := spoiled(c.out); got != c.want {
			t.Errorf("%s: the target's fault: %v, want %v", c.what, got, c.want)
		}
	}
}

func TestUnknownEarlyOpenIsRefused(t *testing.T) {
	_, err := New(Config{URL: "ws://127.0.0.1:1", EarlyOpen: "sometimes"})
	if err == nil || !strings.Contains(err.Error(), `"sometimes"`) || !strings.Contains(err.Error(), "auto, always or never") {
		t.Errorf("New: %v; want an error that names the value and those there are", err)
	}
}
