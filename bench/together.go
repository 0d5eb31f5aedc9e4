package main

import (
	"errors"
	"sync"
	"sync/atomic"
)

// together calls each with 0 to n-1, some at once, until one fails.
func together(n, atOnce int, each func(int) error) error {
	var next atomic.Int64
	var all sync.WaitGroup
	failed := make([]error, atOnce)
	for worker := range atOnce {
		all.Go(func() {
			for i := next.Add(1) - 1; i < int64(n) && failed[worker] == nil; i = next.Add(1) - 1 {
				if failed[worker] = each(int(i)); failed[worker] != nil {
					next.Store(int64(n))
				}
			}
		})
	}
	all.Wait()
	return errors.Join(failed...)
}
