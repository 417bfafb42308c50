/*
 * The protocol of a fleet, for Spin: three replicas and an engine, messages that are lost or come late, an engine that
 * restarts empty and gives one ticket after another. What the clocks of the real thing decide, chance decides here: any
 * moment is tried.
 *
 * Checked: no verdict without a quorum; at most MAX valid tickets in one epoch; only holders settle; and nobody is held
 * for ever, also where the engine is gone for good (the dead-man rule).
 */
#define N 3
#define QUORUM 2
#define MAX 1
#define EPOCHS 2

mtype = { ACCUSE, OBJECT, LEASE, GOOD, BAD }          /* what a replica says */
mtype = { OPENED, LIFTED, CLOSED, GRANTED, NOTHING }  /* what it hears */

chan up = [1] of { mtype, byte, byte };               /* act, replica, epoch */
chan down[N] = [1] of { mtype, byte, byte };          /* word, epoch, serial of the ticket */

/* Of the engine. */
bool open;
bool accuses[N];
bool objects[N];
bool ticket[N];
byte epoch;       /* grows even when all else is forgotten: it is a clock */
bit serial[N];    /* which ticket of a replica is the latest: an older one has run out, by its own clock as well */

/* Of the replicas. */
bool held[N];     /* its circuit is open by the fleet's word */
byte word[N];     /* the epoch of the verdict that it knows; 0: none */
bool valid[N];    /* it has a ticket that has not run out */
byte validIn[N];

bool isDown;
bool restarted;

/* Of one step: no part of any state. */
hidden byte who, about, votes, against, given, k, number, which;

inline tell(what) {
  about = epoch;
  atomic {
    k = 0;
    do
    :: k < N ->
      if
      :: nfull(down[k]) -> down[k]!what(about, 0)
      :: skip   /* lost */
      fi;
      k++
    :: else -> k = 0; break
    od
  }
}

inline ask(what, number) {
  if
  :: nfull(up) -> up!what(me, number)
  :: skip   /* lost */
  fi
}

inline forgetTickets() {
  ticket[0] = false; ticket[1] = false; ticket[2] = false
}

#define VALID(i) (valid[i] && validIn[i] == epoch && open)

active proctype engine() {
end:
  do
  :: !isDown && up?[ACCUSE, _, _] -> atomic {
      up?ACCUSE(who, about);
      accuses[who] = true; objects[who] = false;
      votes = accuses[0] + accuses[1] + accuses[2];
      against = objects[0] + objects[1] + objects[2];
      if
      :: !open && epoch < EPOCHS && votes >= QUORUM && votes > against ->
        assert(votes >= QUORUM);
        epoch++; open = true; forgetTickets();
        tell(OPENED)
      :: else -> skip
      fi
    }
  :: !isDown && up?[OBJECT, _, _] -> atomic {
      up?OBJECT(who, about);
      if
      :: about == epoch ->
        objects[who] = true; accuses[who] = false;
        votes = accuses[0] + accuses[1] + accuses[2];
        against = objects[0] + objects[1] + objects[2];
        if
        :: open && against >= votes -> open = false; forgetTickets(); tell(LIFTED)
        :: else -> skip
        fi
      :: else -> skip
      fi
    }
  :: !isDown && up?[LEASE, _, _] -> atomic {
      up?LEASE(who, about);
      given = ticket[0] + ticket[1] + ticket[2];
      if
      :: !open ->
        if
        :: nfull(down[who]) -> down[who]!NOTHING(about, 0)
        :: skip   /* lost */
        fi
      :: open && about == epoch && given < MAX && !ticket[who] ->
        ticket[who] = true;
        serial[who] = (serial[who] + 1) % 2;
        if
        :: nfull(down[who]) -> down[who]!GRANTED(epoch, serial[who])
        :: skip
        fi
      :: else -> skip
      fi
    }
  :: !isDown && up?[GOOD, _, _] -> atomic {
      up?GOOD(who, about);
      if
      :: open && about == epoch && ticket[who] -> open = false; forgetTickets(); tell(CLOSED)
      :: else -> skip   /* fenced off */
      fi
    }
  :: !isDown && up?[BAD, _, _] -> atomic {
      up?BAD(who, about);
      if
      :: open && about == epoch && ticket[who] && epoch < EPOCHS ->
        epoch++; forgetTickets(); tell(OPENED)
      :: else -> skip
      fi
    }
  :: atomic {
      /* A ticket runs out: by the replica's clock, which counts from when it asked, no later than by ours. */
      if
      :: ticket[0] && !valid[0] -> ticket[0] = false; serial[0] = (serial[0] + 1) % 2
      :: ticket[1] && !valid[1] -> ticket[1] = false; serial[1] = (serial[1] + 1) % 2
      :: ticket[2] && !valid[2] -> ticket[2] = false; serial[2] = (serial[2] + 1) % 2
      fi
    }
  :: !isDown && !restarted -> atomic {
      restarted = true; isDown = true; open = false; forgetTickets();
      accuses[0] = false; accuses[1] = false; accuses[2] = false;
      objects[0] = false; objects[1] = false; objects[2] = false
    }
  :: isDown -> isDown = false
  :: isDown -> break   /* gone for good */
  od
}

proctype replica(byte me) {
end:
  do
  :: atomic { down[me]?OPENED(number, which) ->
      if
      :: number > word[me] ->
        word[me] = number; valid[me] = false;
        if
        :: held[me] = true
        :: ask(OBJECT, number)   /* its own call has succeeded */
        fi
      :: else -> skip
      fi
    }
  :: atomic { down[me]?LIFTED(number, which) -> if :: number >= word[me] -> held[me] = false :: else -> skip fi }
  :: atomic { down[me]?CLOSED(number, which) -> if :: number >= word[me] -> held[me] = false :: else -> skip fi }
  :: atomic { down[me]?NOTHING(number, which) -> if :: number == word[me] -> held[me] = false :: else -> skip fi }
  :: atomic { down[me]?GRANTED(number, which) ->
      if
      :: number == word[me] && which == serial[me] && held[me] && ticket[me] ->
        valid[me] = true; validIn[me] = number; assert(VALID(0) + VALID(1) + VALID(2) <= MAX)
      :: else -> skip   /* of another epoch, or run out on its way */
      fi
    }
  :: !held[me] && epoch < EPOCHS -> ask(ACCUSE, 0)
  :: held[me] && !valid[me] -> ask(LEASE, word[me])
  :: valid[me] -> atomic { valid[me] = false; if :: ask(GOOD, word[me]) :: ask(BAD, word[me]) fi }
  :: valid[me] -> valid[me] = false   /* it runs out, and nobody has called */
  od
}

/* The dead-man rule is a timer: whatever else goes on, it ends. */
proctype deadman(byte me) {
end:
  do
  :: held[me] -> held[me] = false
  od
}

init {
  atomic {
    run replica(0); run replica(1); run replica(2);
    run deadman(0); run deadman(1); run deadman(2)
  }
}

ltl nobody_is_held_for_ever { [] (held[0] -> <> !held[0]) }
