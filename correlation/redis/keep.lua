-- Moves the position KEYS[1] from ARGV[1] ("" for none) to ARGV[2], to live for
-- ARGV[3] seconds, and returns where it stands then: elsewhere, if somebody else
-- has moved it or everything was lost.
local now = redis.call('GET', KEYS[1])
if not now or not string.find(now, '^%d+ [%x%-]+$') then now = '' end
if now ~= ARGV[1] then return now end
redis.call('SETEX', KEYS[1], ARGV[3], ARGV[2])
return ARGV[2]
