package fault

import "strings"

// Near gives the candidate that a mistyped word was probably meant to be, or "" when none is close: the one with the
// smallest Damerau-Levenshtein distance (optimal string alignment), at most a third of the word's length and at least one,
// but never the whole word.
func Near(word string, candidates []string) string {
	best, dist := "", min(1+max(1, len(word)/3), len(word))
	for _, c := range candidates {
		if c == "" || c == word {
			continue
		}
		if d := distance(strings.ToLower(word), strings.ToLower(c), dist); d < dist {
			best, dist = c, d
		}
	}
	if best != "" {
		return best
	}
	for _, c := range candidates { // a word that was cut short, or one segment of a longer name
		if len(word) >= 3 && (strings.HasPrefix(c, word) || strings.HasSuffix(c, "/"+word)) {
			return c
		}
	}
	return ""
}

// distance counts edits between a and b, and gives up with limit once it cannot be less.
func distance(a, b string, limit int) int {
	if abs(len(a)-len(b)) >= limit || len(a) > 256 || len(b) > 256 {
		return limit
	}
	prev2, prev, cur := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], prev2[j-2]+1)
			}
		}
		prev2, prev, cur = prev, cur, prev2
	}
	return min(prev[len(b)], limit)
}

func abs(n int) int {
	if n < 0 {
		return -n
	}
	return n
}
