//! Owns the comparison of our structures with those that `rdma-sys` made of the installed headers. Whatever
//! differs does not compile.

use std::mem::{align_of, offset_of, size_of};

use super::types as ours;
use rdma_sys as theirs;

/// Size and alignment, and the place of every named field.
macro_rules! same {
    ($structure:ident { $($field:ident),* }) => {
        const _: () = assert!(
            size_of::<ours::$structure>() == size_of::<theirs::$structure>()
                && align_of::<ours::$structure>() == align_of::<theirs::$structure>()
        );
        same!(beginning of $structure { $($field),* });
    };
    (beginning of $structure:ident { $($field:ident),* }) => {
        $(const _: () = assert!(
            offset_of!(ours::$structure, $field) == offset_of!(theirs::$structure, $field)
        );)*
    };
}

same!(ibv_device { node_type, transport_type, name, dev_name, dev_path, ibdev_path });
same!(ibv_context_ops { poll_cq, req_notify_cq, post_send, post_recv });
same!(ibv_context { device, ops, cmd_fd, async_fd, num_comp_vectors, mutex, abi_compat });
same!(verbs_context { query_port, sz, context });
same!(ibv_device_attr {
    fw_ver,
    node_guid,
    sys_image_guid,
    max_mr_size,
    page_size_cap,
    vendor_id,
    vendor_part_id,
    hw_ver,
    max_qp,
    max_qp_wr,
    device_cap_flags,
    max_sge,
    max_sge_rd,
    max_cq,
    max_cqe,
    max_mr,
    max_pd,
    max_qp_rd_atom,
    max_pkeys,
    local_ca_ack_delay,
    phys_port_cnt
});
same!(ibv_gid { raw });
same!(ibv_gid_entry { gid, gid_index, port_num, gid_type, ndev_ifindex });
same!(ibv_async_event { element, event_type });
same!(ibv_pd { context, handle });
same!(ibv_mr { context, pd, addr, length, handle, lkey, rkey });
same!(ibv_comp_channel { context, fd, refcnt });
same!(ibv_wc {
    wr_id,
    status,
    opcode,
    vendor_err,
    byte_len,
    qp_num,
    src_qp,
    wc_flags,
    pkey_index,
    slid,
    sl,
    dlid_path_bits
});
same!(ibv_sge { addr, length, lkey });
same!(ibv_send_wr { wr_id, next, sg_list, num_sge, opcode, send_flags });
same!(ibv_recv_wr { wr_id, next, sg_list, num_sge });
same!(ibv_qp_cap { max_send_wr, max_recv_wr, max_send_sge, max_recv_sge, max_inline_data });
same!(ibv_qp_init_attr { qp_context, send_cq, recv_cq, srq, cap, qp_type, sq_sig_all });
same!(ibv_global_route { dgid, flow_label, sgid_index, hop_limit, traffic_class });
same!(ibv_ah_attr { grh, dlid, sl, src_path_bits, static_rate, is_global, port_num });
same!(ibv_qp_attr {
    qp_state,
    cur_qp_state,
    path_mtu,
    path_mig_state,
    qkey,
    rq_psn,
    sq_psn,
    dest_qp_num,
    qp_access_flags,
    cap,
    ah_attr,
    alt_ah_attr,
    pkey_index,
    alt_pkey_index,
    en_sqd_async_notify,
    sq_draining,
    max_rd_atomic,
    max_dest_rd_atomic,
    min_rnr_timer,
    port_num,
    timeout,
    retry_cnt,
    rnr_retry,
    alt_port_num,
    alt_timeout,
    rate_limit
});

// Of these only the beginning is ours.
same!(beginning of ibv_cq { context, channel, cq_context, handle, cqe });
same!(beginning of ibv_qp {
    context, qp_context, pd, send_cq, recv_cq, srq, handle, qp_num, state, qp_type
});
// Newer headers have more behind.
same!(beginning of ibv_port_attr {
    state, max_mtu, active_mtu, gid_tbl_len, port_cap_flags, max_msg_sz, bad_pkey_cntr, qkey_viol_cntr, pkey_tbl_len,
    lid, sm_lid, lmc, max_vl_num, sm_sl, subnet_timeout, init_type_reply, active_width, active_speed, phys_state,
    link_layer, flags, port_cap_flags2
});

// Their unions, of which ours have what writes use.
const _: () = assert!(
    offset_of!(ours::ibv_wc, imm_data)
        == offset_of!(theirs::ibv_wc, imm_data_invalidated_rkey_union)
        && offset_of!(ours::ibv_send_wr, imm_data)
            == offset_of!(theirs::ibv_send_wr, imm_data_invalidated_rkey_union)
        && offset_of!(ours::ibv_send_wr, remote_addr)
            == offset_of!(theirs::ibv_send_wr, wr) + offset_of!(theirs::rdma_t, remote_addr)
        && offset_of!(ours::ibv_send_wr, rkey)
            == offset_of!(theirs::ibv_send_wr, wr) + offset_of!(theirs::rdma_t, rkey)
);

/// The numbers, which the headers may not change, but hands may mistype.
macro_rules! equal {
    ($($module:ident :: $name:ident),+ $(,)?) => {
        $(const _: () = assert!(ours::$name as i64 == theirs::$module::$name as i64);)+
    };
    (flags $($kind:ident :: $name:ident),+ $(,)?) => {
        $(const _: () = assert!(ours::$name as i64 == theirs::$kind::$name.0 as i64);)+
    };
}

equal!(
    ibv_node_type::IBV_NODE_CA,
    ibv_node_type::IBV_NODE_RNIC,
    ibv_qp_state::IBV_QPS_INIT,
    ibv_qp_state::IBV_QPS_RTR,
    ibv_qp_state::IBV_QPS_RTS,
    ibv_qp_state::IBV_QPS_ERR,
    ibv_qp_type::IBV_QPT_RC,
    ibv_wr_opcode::IBV_WR_RDMA_WRITE,
    ibv_wr_opcode::IBV_WR_RDMA_WRITE_WITH_IMM,
    ibv_wc_status::IBV_WC_SUCCESS,
    ibv_wc_status::IBV_WC_WR_FLUSH_ERR,
);
equal!(flags
    ibv_access_flags::IBV_ACCESS_LOCAL_WRITE, ibv_access_flags::IBV_ACCESS_REMOTE_WRITE,
    ibv_qp_attr_mask::IBV_QP_STATE, ibv_qp_attr_mask::IBV_QP_ACCESS_FLAGS, ibv_qp_attr_mask::IBV_QP_PKEY_INDEX,
    ibv_qp_attr_mask::IBV_QP_PORT, ibv_qp_attr_mask::IBV_QP_AV, ibv_qp_attr_mask::IBV_QP_PATH_MTU,
    ibv_qp_attr_mask::IBV_QP_TIMEOUT, ibv_qp_attr_mask::IBV_QP_RETRY_CNT, ibv_qp_attr_mask::IBV_QP_RNR_RETRY,
    ibv_qp_attr_mask::IBV_QP_RQ_PSN, ibv_qp_attr_mask::IBV_QP_MAX_QP_RD_ATOMIC,
    ibv_qp_attr_mask::IBV_QP_MIN_RNR_TIMER, ibv_qp_attr_mask::IBV_QP_SQ_PSN,
    ibv_qp_attr_mask::IBV_QP_MAX_DEST_RD_ATOMIC, ibv_qp_attr_mask::IBV_QP_DEST_QPN,
    ibv_send_flags::IBV_SEND_SIGNALED, ibv_send_flags::IBV_SEND_INLINE, ibv_wc_flags::IBV_WC_WITH_IMM,
);
