-- Takes children out of the set KEYS[1] of the parent ARGV[1] if they do not name
-- it any more. It looks again itself, since they may have been written anew.
local removed = 0
for i = 2, #ARGV do
  local value = redis.call('MGET', 'bloodbank:correlation:forward:' .. ARGV[i])[1]
  if not value or not string.find(value, ARGV[1], 1, true) then
    removed = removed + redis.call('SREM', KEYS[1], ARGV[i])
  end
end
return removed
