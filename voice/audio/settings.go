package audio

// Or fills the zero fields from other settings.
func (s EndpointSettings) Or(other EndpointSettings) EndpointSettings {
	orElse(&s.OnDB, other.OnDB)
	orElse(&s.OffDB, other.OffDB)
	orElse(&s.MinDB, other.MinDB)
	orElse(&s.StartFrames, other.StartFrames)
	orElse(&s.StartWindow, other.StartWindow)
	orElse(&s.End, other.End)
	orElse(&s.PreRoll, other.PreRoll)
	orElse(&s.PostRoll, other.PostRoll)
	orElse(&s.Max, other.Max)
	orElse(&s.Floor, other.Floor)
	return s
}
