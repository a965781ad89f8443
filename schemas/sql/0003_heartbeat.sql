-- When the command that carries out a run last said that it lives: one that was killed says nothing else.
ALTER TABLE runs ADD COLUMN heartbeat timestamptz NOT NULL DEFAULT now();
