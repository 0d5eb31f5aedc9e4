package mux

// gate makes streams that have much to send take turns when a Link is busy, in
// the order of their arrival. Who has been let through is expected to write at
// once. But it may find its own window shut, and must not keep others waiting: so
// every now and then all are forgotten that have passed and not written.
//
// Its methods are called with the Link's mu held; waiters receive outside it.
type gate struct {
	waiting []chan struct{}
	passing int // have been let through and not written yet
}

// enter returns nil if the caller may pass, or a channel that is closed when it
// is the caller's turn.
func (g *gate) enter(open bool) chan struct{} {
	if open && len(g.waiting) == 0 {
		g.passing++
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
	g.passed() // it was let through at the same moment
}

// admit lets the first n waiters through.
func (g *gate) admit(n int) {
	n = min(n, len(g.waiting))
	for i, turn := range g.waiting[:n] {
		close(turn)
		g.waiting[i] = nil
	}
	g.passing += n
	g.waiting = g.waiting[n:]
	if len(g.waiting) == 0 {
		g.waiting = nil
	}
}

// passed notes that one who was let through has written.
func (g *gate) passed() { g.passing = max(g.passing-1, 0) }

// forget expects no more of those who were let through.
func (g *gate) forget() { g.passing = 0 }
