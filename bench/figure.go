package main

import (
	"fmt"
	"slices"
	"strings"
)

// systems are what is measured, in the order of the table.
var systems = []string{"limit", "perconnect", "ferry"}

// figures are what can be measured.
var figures = []*figure{throughput, distance, opens, firstByte, echoing, loaded, memory}

// figure is one measurement, which gives a value for each of its rows.
type figure struct {
	name    string
	how     string                 // for the reader of the table
	amount  func(*settings) string // more of that, if flags decide; may be nil
	link    *Link                  // between the halves; nil: none
	rows    []row
	measure func(*bed) (values, error)
}

// size says how much is measured, if flags decide.
func (f *figure) size(s *settings) string {
	if f.amount == nil {
		return ""
	}
	return " " + f.amount(s)
}

// row is one line of the table.
type row struct {
	name, unit string
	required   bound // of ferry; the zero value: nothing
}

// values are what a figure found, by the names of its rows.
type values map[string]float64

// bound is what ferry is required to reach.
type bound struct {
	most   bool    // at most; otherwise at least
	factor float64 // 0: no bound
	of     string  // the system that the factor is about; none: it is a value
}

func atLeast(factor float64, of string) bound { return bound{factor: factor, of: of} }
func atMost(factor float64, of string) bound  { return bound{most: true, factor: factor, of: of} }

func (b bound) String() string {
	if b.factor == 0 {
		return ""
	}
	sign := "≥"
	if b.most {
		sign = "≤"
	}
	if b.of == "" {
		return fmt.Sprintf("%s %.4g", sign, b.factor)
	}
	return fmt.Sprintf("%s %.3g × %s", sign, b.factor, b.of)
}

// holds reports whether a value keeps to the bound, given those of all systems.
func (b bound) holds(of map[string]float64) bool {
	limit := b.factor
	if b.of != "" {
		limit *= of[b.of]
	}
	if b.most {
		return of["ferry"] <= limit
	}
	return of["ferry"] >= limit
}

func names(all []*figure) string {
	var list []string
	for _, f := range all {
		list = append(list, f.name)
	}
	return strings.Join(list, ",")
}

// chosen returns the figures of these names, in the order of the table.
func chosen(names []string) []*figure {
	return slices.DeleteFunc(slices.Clone(figures), func(f *figure) bool { return !slices.Contains(names, f.name) })
}
