package main

import (
	"fmt"
	"regexp"
	"slices"

	"github.com/urfave/cli/v2"
)

// didYouMean completes the sentence that there is no such word, where one of
// those that there are is so near that it must have been meant.
func didYouMean(word string, words []string) string {
	least, nearest := (len(word)+3)/4, "" // slips: one in a word of four octets, and one more for each four
	for _, w := range words {
		if n := slips(word, w); n <= least && len(w) > 1 {
			least, nearest = n-1, w
		}
	}
	if nearest == "" {
		return ""
	}
	return ", did you mean " + nearest
}

// slips counts the octets left out, put in, mistaken or swapped between two words.
func slips(a, b string) int {
	var before, last []int // the rows for all of a but its last two octets, and but its last one
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		before, last, row = last, row, make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			mistaken := last[j-1]
			if a[i-1] != b[j-1] {
				mistaken++
			}
			row[j] = min(last[j]+1, row[j-1]+1, mistaken)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
	}
	return row[len(b)]
}

// commandNames returns the names of the commands that are shown.
func commandNames(commands []*cli.Command) (names []string) {
	for _, c := range commands {
		if !c.Hidden {
			names = append(names, c.Name)
		}
	}
	return names
}

// flagNames returns the names of flags, each after a prefix.
func flagNames(flags []cli.Flag, prefix string) (names []string) {
	for _, f := range flags {
		names = append(names, prefix+f.Names()[0])
	}
	return names
}

// wrongValue is what the flag package says of a value that it cannot read.
var wrongValue = regexp.MustCompile(`^invalid (?:boolean )?value (".*") for (?:flag )?-([a-z-]+): `)

// explainValue says which values a flag takes, where that is what is wrong.
func explainValue(flags []cli.Flag, text string) string {
	found := wrongValue.FindStringSubmatch(text)
	if found == nil {
		return text
	}
	value, name := found[1], found[2]
	return fmt.Sprintf("--%s %s is %s", name, value, notA(flagCalled(flags, name)))
}

// flagCalled returns the flag of a name; nil: there is none.
func flagCalled(flags []cli.Flag, name string) cli.Flag {
	for _, f := range flags {
		if slices.Contains(f.Names(), name) {
			return f
		}
	}
	return nil
}

// notA says what a value is that a flag cannot read.
func notA(f cli.Flag) string {
	switch f.(type) {
	case *cli.DurationFlag:
		return "no duration, as 10s is"
	case *cli.IntFlag:
		return "no whole number"
	case *cli.BoolFlag:
		return "neither true nor false"
	}
	return "not what the flag takes"
}
