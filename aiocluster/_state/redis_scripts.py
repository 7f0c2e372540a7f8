"""What changes the state in a Redis: each change is one script, which also publishes it.

A value is what a message packs, but an int is stored as Redis's own: as its decimal digits, to which INCRBY adds. No
other packed value begins with a digit or a minus. A change is published on the channel that has the key's own name: as
the milliseconds that it will live (0 or less: forever), a space and the value; or as nothing, if it was deleted.

A lock is a hash: ``owner`` and ``until`` while it is held, and the last ``token``. A token is the server's time in
milliseconds, or one more than the last one. So tokens grow even if a Redis has lost its data meanwhile, and locks that
nobody has asked for in a day need not be kept.
"""

from __future__ import annotations

from .._redis.script import Script

SET = Script("""
local done
if ARGV[2] == '0' then
  if ARGV[3] == '1' then
    done = redis.call('SET', KEYS[1], ARGV[1], 'NX')
  else
    done = redis.call('SET', KEYS[1], ARGV[1])
  end
elseif ARGV[3] == '1' then
  done = redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2], 'NX')
else
  done = redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
end
if not done then return 0 end
redis.call('PUBLISH', KEYS[1], ARGV[2] .. ' ' .. ARGV[1])
return 1
""")
"""The value, its milliseconds to live or 0, and 1 if only an absent key is to be set: returns whether it was."""

DELETE = Script("""
if redis.call('UNLINK', KEYS[1]) == 0 then return 0 end
redis.call('PUBLISH', KEYS[1], '')
return 1
""")
"""Returns whether there was one."""

INCR = Script("""
local is_new = ARGV[2] ~= '0' and redis.call('EXISTS', KEYS[1]) == 0
redis.call('INCRBY', KEYS[1], ARGV[1])
if is_new then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
local sum = redis.call('GET', KEYS[1])
redis.call('PUBLISH', KEYS[1], redis.call('PTTL', KEYS[1]) .. ' ' .. sum)
return sum
""")
"""What to add, and a new key's milliseconds to live or 0: returns the sum, as text since Lua's numbers have 53 bits."""

REPLACE = Script("""
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'KEEPTTL')
redis.call('PUBLISH', KEYS[1], redis.call('PTTL', KEYS[1]) .. ' ' .. ARGV[2])
return 1
""")
"""The value that must be there, and the new one: returns whether it was."""

_NOW = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local lock = redis.call('HMGET', KEYS[1], 'owner', 'until', 'token')
local is_held = lock[1] and tonumber(lock[2]) > now
"""
_HOLD = """
redis.call('HSET', KEYS[1], 'owner', ARGV[1], 'until', string.format('%.0f', now + ARGV[2]))
redis.call('PEXPIRE', KEYS[1], string.format('%.0f', ARGV[2] + 86400000))
"""

ACQUIRE = Script(f"""{_NOW}
if is_held and lock[1] ~= ARGV[1] then return now - tonumber(lock[2]) end
local token = tonumber(lock[3] or 0)
if not is_held then
  token = math.max(token + 1, now)
  redis.call('HSET', KEYS[1], 'token', string.format('%.0f', token))
end
{_HOLD}
return token
""")
"""An owner, and for how many milliseconds: returns the token, or minus the milliseconds that another one still has."""

RENEW = Script(f"""{_NOW}
if not is_held or lock[1] ~= ARGV[1] then return 0 end
{_HOLD}
return 1
""")
"""An owner, and for how many milliseconds from now on: returns whether it still held it."""

RELEASE = Script(f"""{_NOW}
if lock[1] ~= ARGV[1] then return 0 end
redis.call('HDEL', KEYS[1], 'owner', 'until')
redis.call('PUBLISH', KEYS[1], '')
return is_held and 1 or 0
""")
"""An owner: returns whether it held it."""
