/*
 * The protocol of a fleet, for Spin: three replicas and an engine, messages that are lost or come late, an engine that
 * restarts empty and one that is gone for good. What clocks decide in the real thing, chance decides here: every moment is
 * tried.
 *
 * Checked: no verdict without a quorum; at most MAX valid tickets in an epoch, whatever is late; and nobody is held for
 * ever, also where the engine never comes back (the dead-man rule).
 */
#define QUORUM 2
#define MAX 1
/* Whether anybody is held for ever shows within one verdict, and fairness makes each state many. */
#ifdef LIVE
#define EPOCHS 1
#else
#define EPOCHS 2
#endif

mtype = { ACCUSE, OBJECT, LEASE, GOOD, BAD }   /* what a replica says */
mtype = { OPENED, ENDED, GRANTED }             /* what it hears */

chan up = [1] of { mtype, byte, byte };        /* act, replica, epoch */
chan down[3] = [1] of { mtype, byte };         /* word, epoch */

/* Of the engine. */
bool open;
byte vote[3];     /* 1 accuses, 2 objects; the first replica is quiet, and has no evidence */
bool ticket[3];
byte epoch;       /* grows even when all else is forgotten: it is a clock */
bool restarted;

/* Of the replicas. */
bool held[3];     /* the circuit is open by the fleet's word */
byte known[3];    /* the epoch of the last verdict that was heard of; 0: none */
bool valid[3];    /* there is a ticket that has not run out */

/* Of one step: no part of any state. */
hidden byte who, about, number;

#define ACCUSERS ((vote[1] == 1) + (vote[2] == 1))
#define OBJECTORS ((vote[1] == 2) + (vote[2] == 2))
#define VALID(i) (valid[i] && known[i] == epoch && open)

inline send(to, what) {
  if
  :: nfull(down[to]) -> down[to]!what(epoch)
  :: true   /* lost */
  fi
}

inline tell(what) {
  send(0, what); send(1, what); send(2, what)
}

inline ask(what) {
  if
  :: nfull(up) -> up!what(me, known[me])
  :: true   /* lost */
  fi
}

inline forgetTickets() {
  ticket[0] = false; ticket[1] = false; ticket[2] = false
}

active proctype engine() {
end:
  do
  :: atomic { up?[ACCUSE, _, _] -> up?ACCUSE(who, about);
      vote[who] = 1;
      if
      :: !open && epoch < EPOCHS && ACCUSERS >= QUORUM && ACCUSERS > OBJECTORS ->
        assert(ACCUSERS >= QUORUM);
        epoch++; open = true; forgetTickets(); tell(OPENED)
      :: else
      fi
    }
  :: atomic { up?[OBJECT, _, _] -> up?OBJECT(who, about);
      if
      :: about == epoch ->
        vote[who] = 2;
        if
        :: open && OBJECTORS >= ACCUSERS -> open = false; forgetTickets(); tell(ENDED)
        :: else
        fi
      :: else
      fi
    }
  :: atomic { up?[LEASE, _, _] -> up?LEASE(who, about);
      if
      :: !open -> send(who, ENDED)
      :: open && about == epoch && ticket[0] + ticket[1] + ticket[2] < MAX ->
        ticket[who] = true; send(who, GRANTED)
      :: else
      fi
    }
  :: atomic { up?[GOOD, _, _] -> up?GOOD(who, about);
      if
      :: open && about == epoch && ticket[who] ->
        open = false; vote[1] = 0; vote[2] = 0; forgetTickets(); tell(ENDED)
      :: else   /* fenced off */
      fi
    }
  :: atomic { up?[BAD, _, _] -> up?BAD(who, about);
      if
      :: open && about == epoch && ticket[who] && epoch < EPOCHS ->
        epoch++; forgetTickets(); tell(OPENED)
      :: else
      fi
    }
  /* A ticket runs out: by the replica's clock, which counts from when it asked, no later than by the engine's. */
  :: atomic { ticket[0] && !valid[0] -> ticket[0] = false }
  :: atomic { ticket[1] && !valid[1] -> ticket[1] = false }
  :: atomic { ticket[2] && !valid[2] -> ticket[2] = false }
  /* It restarts, and has forgotten everything. */
  :: atomic { !restarted -> restarted = true; open = false; forgetTickets(); vote[1] = 0; vote[2] = 0 }
  :: break   /* gone for good */
  od
}

proctype replica(byte me) {
end:
  do
  :: atomic { down[me]?[OPENED, _] -> down[me]?OPENED(number);
      if
      :: number > known[me] ->
        known[me] = number; valid[me] = false;
        if
        :: held[me] = true
        :: !held[me] && me > 0 -> ask(OBJECT)   /* its own call has succeeded */
        fi
      :: else
      fi
    }
  :: atomic { down[me]?[ENDED, _] -> down[me]?ENDED(number);
      if
      :: number >= known[me] -> held[me] = false; valid[me] = false
      :: else
      fi
    }
  :: atomic { down[me]?[GRANTED, _] -> down[me]?GRANTED(number);
      if
      :: number == known[me] && held[me] && ticket[me] ->
        valid[me] = true;
        assert(VALID(0) + VALID(1) + VALID(2) <= MAX)
      :: else   /* of another epoch, or run out on its way */
      fi
    }
  :: atomic { me > 0 && !held[me] && epoch < EPOCHS -> ask(ACCUSE) }
  :: atomic { held[me] && !valid[me] -> ask(LEASE) }
  :: atomic { valid[me] -> valid[me] = false;   /* the probe has ended */
      if
      :: ask(GOOD)
      :: ask(BAD)
      fi
    }
  :: atomic { valid[me] -> valid[me] = false }   /* run out */
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
    run deadman(0);
#ifndef LIVE
    run deadman(1); run deadman(2)
#endif
  }
}

ltl nobody_is_held_for_ever { [] (held[0] -> <> !held[0]) }
