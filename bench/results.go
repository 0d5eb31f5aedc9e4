package main

import (
	"math"
	"slices"
)

// results are the values of all rounds.
type results struct {
	figures []*figure
	systems []string
	rounds  map[cell][]float64
}

// cell is one value of the table.
type cell struct{ figure, row, system string }

func newResults(figures []*figure, systems []string) *results {
	return &results{figures: figures, systems: systems, rounds: map[cell][]float64{}}
}

// add takes in the values of one round.
func (r *results) add(f *figure, system string, found values) {
	for row, value := range found {
		at := cell{f.name, row, system}
		r.rounds[at] = append(r.rounds[at], value)
	}
}

// medians returns the medians of a row, by system.
func (r *results) medians(f *figure, w row) map[string]float64 {
	all := map[string]float64{}
	for _, system := range r.systems {
		all[system] = median(r.rounds[cell{f.name, w.name, system}])
	}
	return all
}

// spread is how far a round was from the median at most, as a share of it.
func (r *results) spread(at cell) float64 {
	middle, most := median(r.rounds[at]), 0.0
	for _, v := range r.rounds[at] {
		most = max(most, math.Abs(v-middle)/middle)
	}
	return most
}

func median[T float64 | ~int64](of []T) T { return quantile(of, 0.5) }

// quantile is a value that a share of the others is not above; 0 if there are
// none.
func quantile[T float64 | ~int64](of []T, share float64) T {
	if len(of) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(of))
	return sorted[int(share*float64(len(sorted)-1)+0.5)]
}
