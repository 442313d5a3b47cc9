-- What the tables are made of: ids and their bounds in time.

-- An id of the form that policy.model.ids makes: UUID version 7 with 74 random bits.
-- PostgreSQL has uuidv7() only from 18 on, and that one keeps 62 random bits.
CREATE FUNCTION new_id() RETURNS uuid
LANGUAGE sql VOLATILE PARALLEL SAFE
AS $$
    SELECT encode(
        -- gen_random_uuid() has version 4; two more bits make it 7.
        set_bit(set_bit(
            overlay(
                uuid_send(gen_random_uuid())
                PLACING substring(
                    int8send(floor(date_part('epoch', clock_timestamp()) * 1000)::bigint) FROM 3
                )
                FROM 1 FOR 6
            ),
            52, 1), 53, 1),
        'hex')::uuid
$$;

-- The smallest id of an object made at ``at``: bounds of partitions and of scans by time.
CREATE FUNCTION id_bound(at timestamptz) RETURNS uuid
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
AS $$
    SELECT encode(
        substring(int8send(floor(date_part('epoch', at) * 1000)::bigint) FROM 3)
        || '\x00000000000000000000'::bytea,
        'hex')::uuid
$$;
