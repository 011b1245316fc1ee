package sqlite

import "github.com/33god/bloodbank/store/sqlfilter"

// cutWord belongs to the file format.
func cutWord(word string) string { return word[:min(len(word), sqlfilter.MaxWord)] }
