package mux

// gate makes streams that have much to send take turns when a Link is busy, in
// the order of their arrival. Nobody holds a place: a stream that has been let
// through may find its own window shut, and must not keep others waiting.
//
// Its methods are called with the Link's mu held; waiters receive outside it.
type gate struct {
	waiting []chan struct{}
}

// enter returns nil if the caller may pass, or a channel that is closed when it
// is the caller's turn.
func (g *gate) enter(open bool) chan struct{} {
	if open && len(g.waiting) == 0 {
		return nil
	}
	turn := make(chan struct{})
	g.waiting = append(g.waiting, turn)
	return turn
}

// leave takes back an enter whose caller has given up.
func (g *gate) leave(turn chan struct{}) {
	for i, w := range g.waiting {
		if w == turn {
			g.waiting = append(g.waiting[:i], g.waiting[i+1:]...)
			return
		}
	}
}

// admit lets the first n waiters through.
func (g *gate) admit(n int) {
	n = min(n, len(g.waiting))
	for i, turn := range g.waiting[:n] {
		close(turn)
		g.waiting[i] = nil
	}
	g.waiting = g.waiting[n:]
	if len(g.waiting) == 0 {
		g.waiting = nil
	}
}
