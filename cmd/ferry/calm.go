package main

import (
	"runtime/debug"
	"sync"
	"time"
)

// tidyEvery is how often memory is given back at most: it takes a garbage collection.
const tidyEvery = 10 * time.Second

// tidy returns what gives memory back to the system when all has become calm. The
// runtime would keep for minutes what a burst has taken.
func tidy() (calm func()) {
	var mu sync.Mutex // guards what follows
	var last time.Time
	var due bool
	return func() {
		mu.Lock()
		defer mu.Unlock()
		if due {
			return
		}
		due = true
		time.AfterFunc(tidyEvery-time.Since(last), func() {
			debug.FreeOSMemory()
			mu.Lock()
			defer mu.Unlock()
			last, due = time.Now(), false
		})
	}
}
