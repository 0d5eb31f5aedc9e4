package mux

import "testing"

// let reports whether it is a waiter's turn.
func let(turn chan struct{}) bool {
	select {
	case <-turn:
		return true
	default:
		return false
	}
}

// queue returns a gate with n waiters.
func queue(n int) (*gate, []chan struct{}) {
	g := new(gate)
	var turns []chan struct{}
	for range n {
		turns = append(turns, g.enter(false))
	}
	return g, turns
}

// wantTurns checks who was let through: one letter per waiter, y or n.
func wantTurns(t *testing.T, turns []chan struct{}, want string) {
	t.Helper()
	got := ""
	for _, turn := range turns {
		if let(turn) {
			got += "y"
		} else {
			got += "n"
		}
	}
	if got != want {
		t.Errorf("the waiters that were let through are %s; want %s", got, want)
	}
}

func TestOpenGateLetsPassAtOnce(t *testing.T) {
	var g gate
	if turn := g.enter(true); turn != nil {
		t.Errorf("an open gate made a stream wait that nobody was in front of")
	}
}

func TestGateKeepsTheOrderOfArrival(t *testing.T) {
	g, turns := queue(4)
	wantTurns(t, turns, "nnnn")
	g.admit(1)
	wantTurns(t, turns, "ynnn")
	g.admit(2)
	wantTurns(t, turns, "yyyn")
}

func TestOpenGateLetsNobodyOvertake(t *testing.T) {
	g, turns := queue(1)
	late := g.enter(true)
	if late == nil {
		t.Fatalf("a stream passed an open gate while another waited; want it behind that one")
	}
	g.admit(1)
	wantTurns(t, append(turns, late), "yn")
}

func TestGateForgetsWhoLeaves(t *testing.T) {
	g, turns := queue(4)
	g.leave(turns[1])
	g.admit(2)
	wantTurns(t, turns, "ynyn")
}

func TestLeavingAfterTheTurnCameChangesNothing(t *testing.T) {
	g, turns := queue(3)
	g.admit(1)
	g.leave(turns[0])
	g.admit(1)
	wantTurns(t, turns, "yyn")
}

func TestGateAdmitsNoMoreThanWait(t *testing.T) {
	g, turns := queue(2)
	g.admit(0)
	wantTurns(t, turns, "nn")
	g.admit(100)
	wantTurns(t, turns, "yy")
	if g.waiting != nil {
		t.Errorf("%d places are kept for nobody; want none", len(g.waiting))
	}
	g.admit(100)
	if turn := g.enter(true); turn != nil {
		t.Errorf("an empty gate that is open made a stream wait")
	}
}
