package wire

import (
	"sync"
	"sync/atomic"
	"time"
)

// idleWorkers is how many goroutines a Joiner keeps for the next direction that has
// something to do, for idleTime. Their stacks have grown already, which takes longer
// than many a direction has to do.
const idleWorkers = 16

// A Joiner joins tunnels to the connections outside them. A tunnel on which nothing
// happens has no goroutine and no buffer of its own.
type Joiner struct {
	poller *poller

	jobs    chan func() // to idle workers
	idle    atomic.Int32
	closed  chan struct{}
	close   sync.Once
	workers sync.WaitGroup
}

// NewJoiner returns a Joiner, which must be closed in the end.
func NewJoiner() *Joiner {
	return &Joiner{poller: newPoller(), jobs: make(chan func()), closed: make(chan struct{})}
}

// Close ends the goroutines and lets go of the system's resources. All that was
// joined must be done. Later calls do nothing.
func (j *Joiner) Close() error {
	j.close.Do(func() {
		close(j.closed)
		j.poller.close()
	})
	j.workers.Wait()
	return nil
}

// do runs a direction on a worker.
func (j *Joiner) do(direction func()) {
	select {
	case j.jobs <- direction:
	default:
		j.workers.Go(func() { j.work(direction) })
	}
}

// work is a worker's goroutine. It ends when nothing comes, when there are idle ones
// enough, or with the Joiner.
func (j *Joiner) work(direction func()) {
	timer := time.NewTimer(idleTime)
	defer timer.Stop()
	for direction != nil {
		direction()
		if direction = nil; j.idle.Add(1) <= idleWorkers {
			timer.Reset(idleTime)
			direction = j.await(timer.C)
		}
		j.idle.Add(-1)
	}
}

// await returns what a worker is to do next, or nil if that is nothing.
func (j *Joiner) await(timeout <-chan time.Time) func() {
	select {
	case direction := <-j.jobs:
		return direction
	case <-timeout:
	case <-j.closed:
	}
	return nil
}
