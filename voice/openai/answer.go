package openai

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"regexp"
	"strings"
	"time"

	"github.com/33god/bloodbank/voice"
)

// answer is the part of json and verbose_json that we read. whisper.cpp and Speaches put
// words into segments or beside them, with a probability; OpenAI beside them, without.
type answer struct {
	Text     *string   `json:"text"`
	Language string    `json:"language"`
	Segments []segment `json:"segments"`
	Words    []word    `json:"words"`
}

type segment struct {
	Start      float64  `json:"start"`
	End        float64  `json:"end"`
	Text       string   `json:"text"`
	LogProb    *float64 `json:"avg_logprob"`
	NoSpeech   float64  `json:"no_speech_prob"`
	Words      []word   `json:"words"`
	confidence *float64
}

type word struct {
	Word        string   `json:"word"`
	Start       float64  `json:"start"`
	End         float64  `json:"end"`
	Probability *float64 `json:"probability"`
}

// marker is what whisper writes for sounds without words: [BLANK_AUDIO], [Music].
var marker = regexp.MustCompile(`\[[^\]]*\]`)

// sound is a text that only describes a sound: (wind blowing), *coughs*.
var sound = regexp.MustCompile(`^(\([^()]*\)|\*[^*]*\*|♪[^♪]*♪?)$`)

// parse reads an answer. Its times are from the start of the utterance.
func parse(body []byte) (voice.Transcription, error) {
	var a answer
	if err := json.Unmarshal(body, &a); err != nil {
		return voice.Transcription{}, fmt.Errorf("its answer is no transcription: %w", err)
	}
	if a.Text == nil {
		return voice.Transcription{}, errors.New(`its answer has no "text"; is it the right path?`)
	}
	t := voice.Transcription{Text: clean(*a.Text), Language: code(a.Language)}
	if t.Text == "" {
		return t, nil
	}
	words := a.Words
	for i := range a.Segments {
		s := &a.Segments[i]
		if s.LogProb != nil {
			s.confidence = probability(math.Exp(*s.LogProb))
		}
		if len(a.Words) == 0 {
			words = append(words, s.Words...)
		}
	}
	for _, w := range words {
		if v, ok := a.word(w); ok {
			t.Words = append(t.Words, v)
		}
	}
	t.Confidence = a.confidence(words)
	return t, nil
}

// word takes a word with its own probability, else with that of its segment. A word of
// which neither is known is left out: zero would be a lie.
func (a *answer) word(w word) (voice.Word, bool) {
	text, p := clean(w.Word), w.Probability
	for i := 0; p == nil && i < len(a.Segments); i++ {
		if s := a.Segments[i]; w.Start < s.End || i == len(a.Segments)-1 {
			p = s.confidence
			break
		}
	}
	if p != nil {
		p = probability(*p)
	}
	if text == "" || p == nil || !finite(w.Start) || !finite(w.End) {
		return voice.Word{}, false
	}
	return voice.Word{Text: text, Start: seconds(w.Start), End: seconds(w.End), Confidence: *p}, true
}

// confidence is the mean of the segments by their length, else of the words; nil if
// neither is known.
func (a *answer) confidence(words []word) *float64 {
	var sum, weight float64
	for _, s := range a.Segments {
		if s.confidence != nil {
			w := max(s.End-s.Start, 0.01)
			sum, weight = sum+w**s.confidence, weight+w
		}
	}
	for i := 0; weight == 0 && i < len(words); i++ {
		if words[i].Probability == nil {
			return nil
		}
	}
	if weight == 0 {
		for _, w := range words {
			sum, weight = sum+*w.Probability, weight+1
		}
	}
	if weight == 0 {
		return nil
	}
	return probability(sum / weight)
}

func probability(p float64) *float64 {
	if math.IsNaN(p) {
		return nil
	}
	p = math.Round(min(1, max(0, p))*1e4) / 1e4
	return &p
}

func finite(s float64) bool { return s >= 0 && s < 3600 }

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

func clean(text string) string {
	text = strings.Join(strings.Fields(marker.ReplaceAllString(text, " ")), " ")
	return sound.ReplaceAllString(text, "")
}

// code turns the name of a language, which some servers give, into its code; "" if unknown.
func code(language string) string {
	language = strings.ToLower(strings.TrimSpace(language))
	if n := len(language); n == 2 || n == 3 {
		return language
	}
	_, rest, found := strings.Cut(languageNames, " "+language+"=")
	if !found || language == "" {
		return ""
	}
	short, _, _ := strings.Cut(rest, " ")
	return short
}

// languageNames are whisper's names of languages.
const languageNames = " afrikaans=af albanian=sq arabic=ar armenian=hy azerbaijani=az basque=eu belarusian=be bengali=bn " +
	"bosnian=bs bulgarian=bg catalan=ca chinese=zh croatian=hr czech=cs danish=da dutch=nl english=en estonian=et " +
	"finnish=fi french=fr galician=gl georgian=ka german=de greek=el gujarati=gu hebrew=he hindi=hi hungarian=hu " +
	"icelandic=is indonesian=id italian=it japanese=ja kannada=kn kazakh=kk khmer=km korean=ko latin=la latvian=lv " +
	"lithuanian=lt macedonian=mk malay=ms malayalam=ml maltese=mt maori=mi marathi=mr mongolian=mn nepali=ne " +
	"norwegian=no nynorsk=nn persian=fa polish=pl portuguese=pt punjabi=pa romanian=ro russian=ru serbian=sr " +
	"slovak=sk slovenian=sl somali=so spanish=es sundanese=su swahili=sw swedish=sv tagalog=tl tamil=ta telugu=te " +
	"thai=th tibetan=bo turkish=tr ukrainian=uk urdu=ur uzbek=uz vietnamese=vi welsh=cy yiddish=yi yoruba=yo "
